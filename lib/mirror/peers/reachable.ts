// Owns the difference between a peer that cannot be reached now, which is an ordinary state of the world, and one that
// answers with a failure.

import { FarsideError } from '../../errors.ts';
import type { ErrorCode } from '../../errors.ts';
import type { MirrorDeps } from '../deps.ts';

const unreachable: ReadonlySet<ErrorCode> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ETIMEDOUT']);

export const isUnreachable = (error: unknown): boolean => error instanceof FarsideError && unreachable.has(error.code);

/** The peer's answer, or undefined when it cannot be reached within `wakeWaitMs` or does not answer well. For what may be skipped. */
export async function reachablePeer<T>(deps: MirrorDeps, ask: () => Promise<T>): Promise<T | undefined> {
  return Promise.race([ask().catch(() => undefined), deps.clock.sleep(deps.limits.wakeWaitMs).then(() => undefined)]);
}
