// Owns which mirror snapshots an image keeps, and for whom. Pure.
//
// One rule decides: a mirror snapshot is deleted when its peer set is empty and a newer mirror snapshot exists (Ceph §2.4),
// unless it is this site's own link. So the peer set of a snapshot, whatever its state, means "these peers may still need
// this point": as what they copy, or as what their newest point is looked up in (roles.ts). What must be kept, and is:
//
// - for each peer, the newest snapshot that it holds, acknowledged or not, and the one that it is copying;
// - for each peer, after a promotion, the copy that was promoted, until the peer has acknowledged something newer;
// - at a replica, its newest complete copy: the link to the primary.
// Copies that this site's own policy keeps are marked `retained` (keep-policy.ts), and stay as well.
//
// The life of a peer `p` on a primary's list, cap 5:
//
//   creation      every new snapshot lists p; above the cap, p leaves the newest before the new one (the oldest stay)
//   claim(l, t)   p begins to copy t and stands at l: p leaves everything older than t except l. Mandatory before copying:
//                 t is now at position 2 at most, where the cap cannot reach it, even if the acknowledgement is lost
//   ack(t)        p holds t: p leaves everything older than t
//
// A replica that feeds others keeps its copies for them by the same rules: every copy lists the peers that it sends to, but for the
// one that the copy came from, unless that one was demoted: it stands there, and may follow this site one day.
//
// Claims and acknowledgements only ever unlink what is older than something p asked for, so late, repeated and reordered
// ones do no harm (I3).

import type { MirrorSnapshot, Snapshot } from '../../image/header.ts';
import { optionDefault } from '../../image/options.ts';
import { findPoint, inOrder, isCopy, isOwn, newestPoint } from './history.ts';
import type { Site } from './history.ts';
import { promotionState } from './roles.ts';

/** `rbd_mirroring_max_mirroring_snapshots`: primary mirror snapshots kept for a peer that does not catch up. */
export const mirrorSnapshotsMaxDefault = optionDefault('rbd_mirroring_max_mirroring_snapshots');
/** Below this, the snapshot that a peer is copying would not be safe from the cap. */
export const mirrorSnapshotsMaxLeast = 3;

/** The new peer set of one snapshot. */
export type PeerSet = { snapId: number; mirrorPeerUuids: string[] };

/** On creating a primary snapshot, before it is appended: whom the cap removes from where. */
export const snapshotsToUnlink = (
  snapshots: readonly MirrorSnapshot[],
  peerUuids: readonly string[],
  snapshotsMax?: number,
): PeerSet[] => aboveCap(snapshots, peerUuids, ({ namespace }) => namespace.state === 'primary', snapshotsMax);

/** The same on completing a copy. */
export const copiesToUnlink = (
  snapshots: readonly MirrorSnapshot[],
  peerUuids: readonly string[],
  snapshotsMax?: number,
): PeerSet[] => aboveCap(snapshots, peerUuids, isCopy, snapshotsMax);

/** Counted in the newest run of snapshots of one kind. */
function aboveCap(
  snapshots: readonly MirrorSnapshot[],
  peerUuids: readonly string[],
  isOfEra: (snapshot: MirrorSnapshot) => boolean,
  snapshotsMax: number = mirrorSnapshotsMaxDefault,
): PeerSet[] {
  const max = Math.max(snapshotsMax, mirrorSnapshotsMaxLeast);
  const ordered = inOrder(snapshots);
  const era = ordered.slice(ordered.findLastIndex((s) => !isOfEra(s)) + 1);
  return mergeUnlinks(
    snapshots,
    peerUuids.flatMap((peerUuid) => {
      const listed = era.filter((s) => lists(s, peerUuid));
      return listed.slice(max - 1).map((s) => ({ snapId: s.id, peerUuid }));
    }),
  );
}

/** The peer holds the point `ackedSnapId`: nothing older is needed for it. Also for a replica, about the peer it has just copied from. */
export function unlinkPeer(snapshots: readonly MirrorSnapshot[], peerUuid: string, ackedSnapId: number): PeerSet[] {
  return unlinkWhere(snapshots, peerUuid, (s) => s.id < ackedSnapId);
}

export type Claim = { linkSnapId?: number | undefined; targetSnapId: number };

/**
 * The peer begins to copy `targetSnapId` and stands at `linkSnapId` (both ids of this site, from `SyncDecision`). Returns
 * undefined when the target is not here any more: the peer must decide again.
 */
export function claimTarget(
  snapshots: readonly MirrorSnapshot[],
  peerUuid: string,
  { linkSnapId, targetSnapId }: Claim,
): PeerSet[] | undefined {
  const target = snapshots.find((s) => s.id === targetSnapId && (isOwn(s) || isCopy(s)));
  if (!target) return undefined;
  const link = snapshots.find((s) => s.id === linkSnapId);
  const joins = [target, ...(link ? [link] : [])].filter((s) => !lists(s, peerUuid));
  return [
    ...joins.map((s) => ({ snapId: s.id, mirrorPeerUuids: [...s.namespace.mirrorPeerUuids, peerUuid] })),
    ...unlinkWhere(snapshots, peerUuid, (s) => s.id < targetSnapId && s.id !== link?.id),
  ];
}

/** The peer was removed from the pool. */
export const forgetPeer = (snapshots: readonly MirrorSnapshot[], peerUuid: string): PeerSet[] =>
  unlinkWhere(snapshots, peerUuid, () => true);

/** Ids of the snapshots that nobody needs. Ask after every change of the list or of a peer set; delete in the same commit. */
export function snapshotsToPrune(snapshots: readonly MirrorSnapshot[]): number[] {
  const ordered = inOrder(snapshots);
  const link = ownLink(ordered);
  return ordered
    .slice(0, -1)
    .flatMap((s) =>
      s.namespace.mirrorPeerUuids.length === 0 && s.id !== link?.id && !s.namespace.retained ? [s.id] : [],
    );
}

/**
 * While the image is not primary, its newest complete copy. While it is primary, the copy that it was promoted from, as
 * long as no peer has ever been listed since: a peer registered later may stand there.
 */
function ownLink(ordered: readonly MirrorSnapshot[]): MirrorSnapshot | undefined {
  const copy = ordered.findLast((s) => isCopy(s) && s.namespace.complete);
  if (!copy || promotionState(ordered) !== 'primary') return copy;
  const anyPeer = ordered.some((s) => s.id > copy.id && s.namespace.mirrorPeerUuids.length > 0);
  return anyPeer ? undefined : copy;
}

/**
 * On completing a resync to the remote's snapshot `targetSnapId`, before the new copy is appended: the mirror snapshots here
 * that do not lie on the target's line. They go, so that the list stays one line. When `losesHead`, the head is not on that
 * line either: keep it as an ordinary snapshot first.
 */
export function snapshotsLostByResync(here: Site, remote: Site, targetSnapId: number): number[] {
  const ordered = inOrder(here.snapshots);
  const line = upTo(remote, targetSnapId);
  const shared = ordered.findLast((s) => findPoint(s, here, line) !== undefined);
  return ordered.flatMap((s) => (s.id > (shared?.id ?? -1) ? [s.id] : []));
}

export function losesHead(here: Site, remote: Site, targetSnapId: number): boolean {
  const last = newestPoint(here);
  return last === undefined
    ? here.snapshots.length > 0
    : findPoint(last, here, upTo(remote, targetSnapId)) === undefined;
}

const upTo = (site: Site, snapId: number): Site => ({
  ...site,
  snapshots: site.snapshots.filter((s) => s.id <= snapId),
});

/** The header's snapshots with changed peer sets, pruned. The one door for callers: apply, then append what is new, then `pruned`. */
export function withPeerSets(snapshots: readonly Snapshot[], peerSets: readonly PeerSet[]): Snapshot[] {
  const sets = new Map(peerSets.map((set) => [set.snapId, set.mirrorPeerUuids]));
  return snapshots.map((snapshot) => {
    const mirrorPeerUuids = sets.get(snapshot.id);
    if (!mirrorPeerUuids || snapshot.namespace.type !== 'mirror') return snapshot;
    return { ...snapshot, namespace: { ...snapshot.namespace, mirrorPeerUuids } };
  });
}

export function pruned(snapshots: readonly Snapshot[]): Snapshot[] {
  const gone = new Set(snapshotsToPrune(snapshots.filter((s): s is MirrorSnapshot => s.namespace.type === 'mirror')));
  return snapshots.filter((s) => !gone.has(s.id));
}

const lists = (snapshot: MirrorSnapshot, peerUuid: string): boolean =>
  snapshot.namespace.mirrorPeerUuids.includes(peerUuid);

const unlinkWhere = (
  snapshots: readonly MirrorSnapshot[],
  peerUuid: string,
  where: (s: MirrorSnapshot) => boolean,
): PeerSet[] =>
  inOrder(snapshots).flatMap((s) =>
    lists(s, peerUuid) && where(s)
      ? [{ snapId: s.id, mirrorPeerUuids: s.namespace.mirrorPeerUuids.filter((uuid) => uuid !== peerUuid) }]
      : [],
  );

function mergeUnlinks(
  snapshots: readonly MirrorSnapshot[],
  unlinks: readonly { snapId: number; peerUuid: string }[],
): PeerSet[] {
  return inOrder(snapshots).flatMap((s) => {
    const leaving = new Set(unlinks.flatMap(({ snapId, peerUuid }) => (snapId === s.id ? [peerUuid] : [])));
    if (leaving.size === 0) return [];
    return [{ snapId: s.id, mirrorPeerUuids: s.namespace.mirrorPeerUuids.filter((uuid) => !leaving.has(uuid)) }];
  });
}
