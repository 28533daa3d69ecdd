// Owns how long to wait before an attempt is repeated. Waits double and are jittered over their upper half, so that
// clients that failed together do not return together.

import type { Clock } from '../clock.ts';
import type { Random } from '../random.ts';

export type Backoff = { firstMs: number; maxMs: number };

/** After a passing fault. R2 and S3 want about a second after a 429 or 503. */
export const faultBackoff: Backoff = { firstMs: 500, maxMs: 8_000 };
/** After a lost race: the winner is done already, so only other losers have to be spread. */
export const raceBackoff: Backoff = { firstMs: 20, maxMs: 2_000 };

/** Wait before repeat number `repeatIndex` (from 0). */
export function backoffMs(backoff: Backoff, repeatIndex: number, random: Random): number {
  const fullMs = Math.min(backoff.firstMs * 2 ** repeatIndex, backoff.maxMs);
  return Math.round(fullMs * (0.5 + random.fraction() / 2));
}

export async function backOff(
  backoff: Backoff,
  repeatIndex: number,
  deps: { clock: Clock; random: Random },
): Promise<void> {
  await deps.clock.sleep(backoffMs(backoff, repeatIndex, deps.random));
}
