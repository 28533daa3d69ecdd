// Owns the death of a process at the border of its bucket: from a certain put on, nothing that it asks for happens, and nothing is
// answered. The last put takes effect, or does not.

import type { Driver } from '../../lib/bucket/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';

const latencyMsMax = 20;

export class DyingDriver implements Driver {
  readonly kind = 'memory';
  readonly death: Promise<void>;
  readonly #inner: Driver;
  readonly #parts: { clock: Clock; random: Random };
  #putsLeft: number;
  #die: () => void = () => {};
  isDead = false;

  constructor(inner: Driver, putsLeft: number, parts: { clock: Clock; random: Random }) {
    this.#inner = inner;
    this.#putsLeft = putsLeft;
    this.#parts = parts;
    this.death = new Promise((resolve) => (this.#die = resolve));
  }

  get: Driver['get'] = (key, options) => this.#alive(() => this.#inner.get(key, options));
  head: Driver['head'] = (key) => this.#alive(() => this.#inner.head(key));
  delete: Driver['delete'] = (keys) => this.#alive(() => this.#inner.delete(keys));
  list: Driver['list'] = (options) => this.#alive(() => this.#inner.list(options));

  put: Driver['put'] = (key, body, condition) =>
    this.#alive(async () => {
      const isLast = --this.#putsLeft <= 0;
      const isLost = isLast && this.#parts.random.fraction() < 0.4;
      const outcome = isLost ? undefined : await this.#inner.put(key, body, condition);
      if (isLast || !outcome) return await this.#dead();
      return outcome;
    });

  async #alive<T>(work: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#parts;
    await clock.sleep(random.fraction() * latencyMsMax);
    if (this.isDead) return await this.#dead();
    const answer = await work();
    return this.isDead ? await this.#dead() : answer;
  }

  #dead(): Promise<never> {
    this.isDead = true;
    this.#die();
    return new Promise(() => {});
  }
}
