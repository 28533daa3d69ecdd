// Owns the context of a local invocation: how much time it has left.

import type { Clock } from '../../lib/clock.ts';

/** The longest that Lambda gives. */
const invocationMs = 15 * 60 * 1000;

export function lambdaContext(clock: Clock): { getRemainingTimeInMillis(): number } {
  const endMs = clock.nowMs() + invocationMs;
  return { getRemainingTimeInMillis: () => Math.max(0, endMs - clock.nowMs()) };
}
