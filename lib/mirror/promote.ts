// Owns `mirror image promote`: one compare-and-swap of the header, in which also ends what the image followed.

import { racesMax, type Stored } from '../bucket/document.ts';
import { FarsideError } from '../errors.ts';
import { openHeader, readHeader } from '../image/access.ts';
import type { ImageSpec } from '../image/deps.ts';
import { mirrorSnapshots } from '../image/header.ts';
import type { Header } from '../image/header.ts';
import { lookAtPeers } from './announce.ts';
import type { MirrorDeps } from './deps.ts';
import {
  announceNewest,
  changed,
  drawn,
  followedUp,
  globalIdOf,
  refuse,
  senders,
  stateOf,
  swap,
  whole,
} from './images.ts';
import { readPool, receives } from './pool.ts';
import type { Pool } from './pool.ts';
import { reachablePeer } from './reachable.ts';
import { canAsk, canPromote, promoteSnapshots } from './role-changes.ts';
import { promotionState } from './roles.ts';

/**
 * `mirror image promote`. Immediate: a replica's head is always one complete point, so nothing is rolled back and an
 * unfinished copy is dropped. EBUSY without force while the image is primary elsewhere.
 */
export async function promoteImage(
  deps: MirrorDeps,
  spec: ImageSpec,
  { force = false }: { force?: boolean } = {},
): Promise<void> {
  const stored = await openHeader(deps, spec);
  const pool = (await readPool(deps, spec.pool)).value;
  refuse(canAsk(stored.value.mirror));
  refuse(canPromote(stateOf(stored.value), { force }));
  const remotePrimary = !force && (await isPrimaryElsewhere(deps, pool, stored.value.mirror!.globalId));
  const value = await promoted(deps, pool, stored, { force, remotePrimary });
  await announceNewest(deps, pool, value);
  // A peer that is away learns it from our report, as soon as it answers again.
  await lookAtPeers(deps, pool, value.mirror!.globalId);
}

/**
 * What was copied of the primary's journal is folded, and the journal is closed by the swap that promotes:
 *
 *   promote                                follows the journal
 *   folds up to slot 8
 *                                          copies slot 9, folds
 *   swap refused: the journal moved; folds again
 */
async function promoted(
  deps: MirrorDeps,
  pool: Pool,
  first: Stored<Header>,
  how: { force: boolean; remotePrimary: boolean },
): Promise<Header> {
  let stored: Stored<Header> | undefined = first;
  for (let lostCount = 0; stored && lostCount <= racesMax; lostCount++) {
    const current = await followedUp(deps, stored);
    const now = await drawn(deps, pool, current.value);
    let isMoved = false;
    const promote = (header: Header): Header | undefined => {
      refuse(canAsk(header.mirror));
      refuse(canPromote(stateOf(header), how));
      isMoved = journalText(header) !== journalText(current.value);
      if (isMoved) return undefined;
      const promotedAt = header.journal?.state === 'following' ? header.journal.folded : undefined;
      const change = promoteSnapshots(mirrorSnapshots(header), senders(pool), { force: how.force, promotedAt });
      return withoutReplication(changed(deps, whole(header), change, pool, now));
    };
    const value = await swap(deps, pool, current, globalIdOf(current), promote);
    if (!isMoved) return value;
    stored = await readHeader(deps, first.value.imageId);
  }
  throw new FarsideError('EAGAIN', `image ${first.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

const journalText = ({ journal }: Header): string =>
  journal ? `${journal.state} ${journal.folded.epoch}/${journal.folded.seq}` : '';

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
