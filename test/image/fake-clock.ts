// A clock that moves only when somebody sleeps or a test sets it.

import type { Clock } from '../../lib/clock.ts';

export class FakeClock implements Clock {
  #nowMs: number;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  setMs(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  async sleep(durationMs: number): Promise<void> {
    this.#nowMs += durationMs;
  }
}
