// Owns `header.mirror.problem`: why replication of an image stands still. Written only when it changes, so that an image
// that cannot go on costs no writes while it waits; and only while the image still is at the point at which the problem was
// seen:
//
//   sync (slow)                               sync
//   sees the remote demoted
//                                             the remote was promoted: copies, completes
//   notes "remote image demoted": not any more, the newest mirror snapshot is another

import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { updateHeader } from '../../image/access.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header, Mirror } from '../../image/header.ts';
import type { MirrorDeps } from '../deps.ts';
import { promotionState } from '../roles/roles.ts';

type Problem = Omit<NonNullable<Mirror['problem']>, 'sinceMs'>;

/** Sets or clears the problem. Never on a primary image, which has none. */
export async function noteProblem(deps: MirrorDeps, seen: Stored<Header>, problem: Problem | undefined): Promise<void> {
  const nowMs = deps.clock.nowMs();
  const change = (header: Header): Header | undefined =>
    isAtSamePoint(seen.value, header) ? withProblem(header, problem, nowMs) : undefined;
  await updateHeader(deps, seen, change, { byMirroring: true });
}

/** Damaged data is a problem that an operator must see; passing faults are not. Called while handling the failure, which goes first. */
export async function noteFailure(deps: MirrorDeps, seen: Stored<Header>, error: unknown): Promise<void> {
  if (!(error instanceof FarsideError) || error.code !== 'EBADMSG') return;
  await noteProblem(deps, seen, { description: 'failed to copy remote image', error: true }).catch(() => undefined);
}

const isAtSamePoint = (seen: Header, now: Header): boolean =>
  seen.mirror?.globalId === now.mirror?.globalId &&
  mirrorSnapshots(seen).at(-1)?.id === mirrorSnapshots(now).at(-1)?.id;

function withProblem(header: Header, problem: Problem | undefined, nowMs: number): Header | undefined {
  if (!header.mirror) return undefined;
  const { problem: before, ...mirror } = header.mirror;
  const wanted = promotionState(mirrorSnapshots(header)) === 'primary' ? undefined : problem;
  if (before?.description === wanted?.description && before?.error === wanted?.error) return undefined;
  return { ...header, mirror: wanted ? { ...mirror, problem: { ...wanted, sinceMs: nowMs } } : mirror };
}
