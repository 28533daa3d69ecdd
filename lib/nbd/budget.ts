// Owns an amount that may be in use at once, of bytes or of requests. Who asks for more than is left waits, in order of asking.

import { assert } from '../errors.ts';

type Waiting = { amount: number; grant(): void };

export class Budget {
  readonly #max: number;
  readonly #queue: Waiting[] = [];
  #used = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get used(): number {
    return this.#used;
  }

  /** More than there can be is a bug of the caller, who would wait forever. Whoever was granted must release. */
  async acquire(amount: number): Promise<void> {
    assert(amount <= this.#max, `${amount} of at most ${this.#max}`);
    if (this.#queue.length === 0 && this.#used + amount <= this.#max) {
      this.#used += amount;
      return;
    }
    await new Promise<void>((resolve) => {
      this.#queue.push({ amount, grant: resolve });
    });
  }

  release(amount: number): void {
    this.#used -= amount;
    for (
      let next = this.#queue[0];
      next !== undefined && this.#used + next.amount <= this.#max;
      next = this.#queue[0]
    ) {
      this.#queue.shift();
      this.#used += next.amount;
      next.grant();
    }
  }
}
