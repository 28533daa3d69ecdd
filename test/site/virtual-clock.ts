// A clock for tests of what waits: time stands still until the test moves it on.

import type { Clock } from '../../lib/clock.ts';

type Sleeper = { atMs: number; wake: () => void };

export class VirtualClock implements Clock {
  #nowMs: number;
  #sleepers: Sleeper[] = [];

  constructor(nowMs = 0) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(durationMs: number): Promise<void> {
    return new Promise((wake) => {
      this.#sleepers.push({ atMs: this.#nowMs + durationMs, wake });
    });
  }

  /** Wakes, in order of time, everyone whose time comes within `durationMs`, and lets each run before the next. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    await settled();
    for (let next = this.#takeNext(untilMs); next !== undefined; next = this.#takeNext(untilMs)) {
      this.#nowMs = next.atMs;
      next.wake();
      await settled();
    }
    this.#nowMs = untilMs;
  }

  #takeNext(untilMs: number): Sleeper | undefined {
    const next = this.#sleepers.toSorted((a, b) => a.atMs - b.atMs)[0];
    if (next === undefined || next.atMs > untilMs) return undefined;
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
    return next;
  }
}

/** Everything that waits for promises only has run. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
