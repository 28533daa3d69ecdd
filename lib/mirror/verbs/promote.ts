// Owns `mirror image promote`: one compare-and-swap of the header, in which also ends what the image followed.

import type { Stored } from '../../bucket/document.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { endFollowing } from '../../image/journal/replica-end.ts';
import { whole } from '../../image/whole.ts';
import { lookAtPeers } from '../peers/announce.ts';
import type { MirrorDeps } from '../deps.ts';
import { announceNewest, changed, drawn, openImage, refuse, senders, stateOf, swapWhole } from './images.ts';
import { receives } from '../pool.ts';
import type { Pool } from '../pool.ts';
import { reachablePeer } from '../peers/reachable.ts';
import { canAsk, canPromote, promoteSnapshots, type Refusal } from '../roles/role-changes.ts';
import { promotionState } from '../roles/roles.ts';

/**
 * `mirror image promote`. Immediate: a replica's head is always one complete point, so nothing is rolled back and an
 * unfinished copy is dropped. EBUSY without force while the image is primary elsewhere.
 */
export async function promoteImage(
  deps: MirrorDeps,
  spec: ImageSpec,
  { force = false }: { force?: boolean } = {},
): Promise<void> {
  const { stored, pool } = await openImage(deps, spec);
  if (force) refuse(comesBack(stored.value));
  refuse(canAsk(stored.value.mirror));
  refuse(canPromote(stateOf(stored.value), { force }));
  const remotePrimary = !force && (await isPrimaryElsewhere(deps, pool, stored.value.mirror!.globalId));
  const value = await promoted(deps, pool, stored, { force, remotePrimary });
  await announceNewest(deps, pool, value);
  // A peer that is away learns it from our report, as soon as it answers again.
  await lookAtPeers(deps, pool, value.mirror!.globalId);
}

/** Its primary was lost before it was in step once: there is no point of the new mirroring to promote, but there is content. */
const comesBack = ({ mirror, formerly, name }: Header): Refusal | undefined =>
  mirror?.state === 'creating' && formerly !== undefined
    ? {
        code: 'EINVAL',
        message: `image ${name} has not been copied since mirroring of it was enabled anew, but holds what it held before: 'farside mirror image disable --force' makes that an ordinary image`,
      }
    : undefined;

/** What was copied of the primary's journal is folded, and the journal is closed by the swap that promotes. */
async function promoted(
  deps: MirrorDeps,
  pool: Pool,
  stored: Stored<Header>,
  how: { force: boolean; remotePrimary: boolean },
): Promise<Header> {
  const now = await drawn(deps, pool, stored.value);
  return swapWhole(deps, pool, { stored, settle: endFollowing }, (header) => {
    refuse(canAsk(header.mirror));
    refuse(canPromote(stateOf(header), how));
    const promotedAt = header.journal?.state === 'following' ? header.journal.folded : undefined;
    const change = promoteSnapshots(mirrorSnapshots(header), senders(pool), { force: how.force, promotedAt });
    return withoutReplication(changed(deps, whole(header), change, pool, now));
  });
}

/** A promoted image replicates no more. That, and its new primary snapshot, fence a sync that is about to complete. */
function withoutReplication(header: Header): Header {
  const { sync: _sync, problem: _problem, resyncRequestedAtMs: _resync, ...mirror } = header.mirror!;
  return { ...header, mirror };
}

/** Only what can be reached is asked; Ceph does not ask at all. */
async function isPrimaryElsewhere(deps: MirrorDeps, pool: Pool, globalId: string): Promise<boolean> {
  for (const record of pool.peers.filter(receives)) {
    const image = await reachablePeer(deps, async () => (await deps.peers(pool.name, record)).image(globalId));
    if (image?.status === 'present' && promotionState(image.snapshots) === 'primary') return true;
  }
  return false;
}
