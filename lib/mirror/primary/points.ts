// Owns the points of an image that is mirrored by its journal: primary mirror snapshots that nobody asked for. Between two
// points the replica copies the journal's slots; whatever else happens to the image (a snapshot, a new size, a name, metadata,
// the begin and the end of an epoch) is a point, taken by the very swap that makes the change (`replaceHeader` in access.ts).
// So it comes to its place in the order of writes:
//
//   writer                                 snap create s
//   slots 7, 8 (epoch E)
//                                          folds up to slot 8; swap: snapshot s, point at (E, 9)
//   slot 9
//
// The replica copies the point, and goes on with slot 9.

import type { Stored } from '../../bucket/document.ts';
import type { Clock } from '../../clock.ts';
import type { JournalPoints } from '../../image/deps.ts';
import { foldTail } from '../../image/journal/fold.ts';
import { mirrorSnapshots, sameRoot } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { overridden } from '../../image/options.ts';
import { updateWhole } from '../../image/whole.ts';
import type { Random } from '../../random.ts';
import { recentLevels } from '../config.ts';
import type { MirrorDeps } from '../deps.ts';
import type { DocumentDeps } from '../limits.ts';
import { announceNewest } from '../verbs/images.ts';
import { imageStateOf, newestMirrorSnapshot, withRoleChange } from '../roles/mirror-snapshots.ts';
import { findImage } from '../peers/catalog.ts';
import { reachablePeer } from '../peers/reachable.ts';
import { receives, recentPool, sends } from '../pool.ts';
import { recent } from '../recent.ts';
import { primarySnapshot } from '../roles/role-changes.ts';
import { promotionState } from '../roles/roles.ts';

/** What a point depends on besides the image: the peers that it is for, and how many are kept for one that does not catch up. */
export type PointTerms = { peerUuids: string[]; snapshotsMax: number };

export async function pointTerms(deps: DocumentDeps, { pool: name, meta }: Header): Promise<PointTerms> {
  const pool = await recentPool(deps, name);
  const levels = { ...(await recentLevels(deps, name)), meta };
  return {
    peerUuids: pool.peers.filter(sends).map((peer) => peer.uuid),
    snapshotsMax: overridden('rbd_mirroring_max_mirroring_snapshots', levels) ?? deps.limits.mirrorSnapshotsMax,
  };
}

/** For a site. */
export const journalPoints = (deps: MirrorDeps): JournalPoints => ({
  withPoint: pointTaker(deps, (header) => pointTerms(deps, header)),
  announce: async (header) => {
    try {
      await announceNewest(deps, await recentPool(deps, header.pool), header);
    } catch {
      // The replicas find the point when they look next.
    }
  },
});

/** `terms`: asked for only when a point is due. */
export const pointTaker =
  (
    { clock, random }: { clock: Clock; random: Random },
    terms: (header: Header) => Promise<PointTerms>,
  ): JournalPoints['withPoint'] =>
  async (before, after) =>
    isPointDue(before, after)
      ? withPoint(after, await terms(after), { nowMs: clock.nowMs(), uuid: random.uuid() })
      : after;

/** Pure. */
export const withPoint = (
  header: Header,
  { peerUuids, snapshotsMax }: PointTerms,
  { nowMs, uuid }: { nowMs: number; uuid: string },
): Header =>
  withRoleChange(header, primarySnapshot(mirrorSnapshots(header), peerUuids), peerUuids, {
    nowMs,
    uuids: [uuid, ''],
    snapshotsMax,
  });

/** Whether replicas have to see the change, and it is not a point itself. */
export function isPointDue(before: Header, after: Header): boolean {
  if (newestMirrorSnapshot(before)?.id !== newestMirrorSnapshot(after)?.id) return false;
  return seenOf(before) !== seenOf(after) || !(isSameEpoch(before, after) || sameRoot(before.root, after.root));
}

const seenOf = (header: Header): string => JSON.stringify([imageStateOf(header), openEpochOf(header)]);

const openEpochOf = ({ journal }: Header): string | undefined =>
  journal?.state === 'open' ? journal.folded.epoch : undefined;

/** Then the root moves by folding only, which is not seen. */
const isSameEpoch = (before: Header, after: Header): boolean =>
  openEpochOf(before) !== undefined && openEpochOf(before) === openEpochOf(after);

/**
 * A replica cannot go on from where it is (a slot was collected here): takes a point for it, unless the newest one says all
 * that there is.
 */
export async function takePoint(deps: MirrorDeps, stored: Stored<Header>): Promise<void> {
  if (!isJournalPrimary(stored.value)) return;
  const terms = await pointTerms(deps, stored.value);
  const drawn = { nowMs: deps.clock.nowMs(), uuid: deps.random.uuid() };
  const change = (header: Header): Header | undefined =>
    isJournalPrimary(header) && !isNothingNew(header) ? withPoint(header, terms, drawn) : undefined;
  const { value } = await updateWhole(deps, stored, foldTail, change);
  await journalPoints(deps).announce(value);
}

const isJournalPrimary = (header: Header): boolean =>
  header.mirror?.mode === 'journal' && promotionState(mirrorSnapshots(header)) === 'primary';

function isNothingNew(header: Header): boolean {
  const newest = newestMirrorSnapshot(header);
  const { journal } = header;
  const seq = journal?.state === 'open' ? journal.folded.seq : undefined;
  return newest !== undefined && newest.namespace.position?.seq === seq && sameRoot(newest.root, header.root);
}

/** Shorter than the time between two ticks. */
const askedOnMs = 30_000;

/** A replica of this image cannot go on by the journal. */
export async function requestPoint(deps: MirrorDeps, pool: string, globalId: string, askerUuid: string): Promise<void> {
  const stored = await findImage(deps, pool, globalId);
  if (stored) await takePoint(deps, stored);
  if (stored?.value.journal?.state === 'following') await askOn(deps, pool, globalId, askerUuid);
}

/**
 * A replica that is asked for a point, since its own slots were collected, has none to give: it asks the sites that it receives from.
 * Not often, so that sites that receive from each other do not ask in circles.
 */
async function askOn(deps: MirrorDeps, poolName: string, globalId: string, askerUuid: string): Promise<void> {
  const limits = { ...deps.limits, cacheMs: askedOnMs };
  await recent({ ...deps, limits }, `point of ${poolName}/${globalId}`, async () => {
    const pool = await recentPool(deps, poolName);
    for (const record of pool.peers.filter((one) => receives(one) && one.uuid !== askerUuid))
      await reachablePeer(deps, async () => (await deps.peers(poolName, record)).requestPoint(globalId));
    return true;
  });
}
