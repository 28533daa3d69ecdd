// Owns how long somebody who wrote waits for the bucket. A bucket that is away comes back, mostly; but an image that is being given
// back waits for it no longer than it takes something now and then.

import type { Clock } from '../clock.ts';
import { FarsideError } from '../errors.ts';
import type { AttachLimits } from './limits.ts';

export class Patience {
  readonly #clock: Clock;
  readonly #limits: Pick<AttachLimits, 'flushPatienceMs' | 'endPatienceMs'>;
  #isHurried = false;
  /** When the bucket last took something, or was asked to hurry since. */
  takenAtMs = -Infinity;

  constructor(clock: Clock, limits: Pick<AttachLimits, 'flushPatienceMs' | 'endPatienceMs'>) {
    this.#clock = clock;
    this.#limits = limits;
  }

  noteTaken(): void {
    this.takenAtMs = this.#clock.nowMs();
  }

  /** The image is about to be given back. */
  hurry(): void {
    this.#isHurried = true;
    this.noteTaken();
  }

  /** EIO: whoever has waited since then waits no longer. */
  check(beganAtMs: number): void {
    const { flushPatienceMs, endPatienceMs } = this.#limits;
    const nowMs = this.#clock.nowMs();
    const isTooLate = nowMs - beganAtMs >= flushPatienceMs;
    if (!isTooLate && !(this.#isHurried && nowMs - this.takenAtMs >= endPatienceMs)) return;
    const waitedMs = isTooLate ? flushPatienceMs : endPatienceMs;
    throw new FarsideError('EIO', `the bucket did not take what was written within ${waitedMs / 1000} s`, {
      retry: 'later',
    });
  }
}
