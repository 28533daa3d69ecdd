// Owns what a change of role adds to an image's mirror snapshots, and when it is refused. Pure: the caller draws ids and
// uuids, and commits a whole change (records, peer sets) with one compare-and-swap of the header. A refusal carries Ceph's
// message (reference §1.1); the caller throws it as a FarsideError.
//
// A promotion must drop `mirror.sync` in the same commit: that, and the new primary snapshot, fence a sync that is about to
// complete. There is nothing to roll back, because a replica's head is always one complete point.

import type { ErrorCode } from '../../errors.ts';
import type { JournalPosition, Mirror, MirrorSnapshot, MirrorSnapshotState } from '../../image/header.ts';
import { inOrder, isCopy, isOwn } from './history.ts';
import type { Point } from './history.ts';
import type { PeerSet } from './retention.ts';
import type { PromotionState } from './roles.ts';

/** What a mirror snapshot records besides data, id and name. */
export type MirrorRecord = {
  state: MirrorSnapshotState;
  complete: true;
  mirrorPeerUuids: string[];
  primaryMirrorUuid?: string;
  primarySnapId?: number;
  primaryCreatedAtMs?: number;
  position?: JournalPosition;
  promotedAt?: JournalPosition;
};

/** Snapshots to append, in this order, and peer sets to change first (retention.ts `withPeerSets`). */
export type RoleChange = { append: MirrorRecord[]; peerSets: PeerSet[] };

/** `peerUuids`: every peer that the pool sends to (direction not rx-only). */
export const primarySnapshot = (snapshots: readonly MirrorSnapshot[], peerUuids: readonly string[]): RoleChange => ({
  append: [own('primary', peerUuids)],
  peerSets: linkNewPeers(snapshots, peerUuids),
});

export const demoteSnapshot = (snapshots: readonly MirrorSnapshot[], peerUuids: readonly string[]): RoleChange => ({
  append: [own('primary-demoted', peerUuids)],
  peerSets: linkNewPeers(snapshots, peerUuids),
});

/**
 * An orderly promotion continues the line. A forced one first marks its start with an orphan, as Ceph does. Either way the
 * point that the image was promoted from is kept for every peer until that peer has acknowledged something newer: it is
 * what a failed primary's or another replica's newest point is looked up in.
 */
export function promoteSnapshots(
  snapshots: readonly MirrorSnapshot[],
  peerUuids: readonly string[],
  { force, promotedAt }: { force: boolean; promotedAt?: JournalPosition | undefined },
): RoleChange {
  const newest = inOrder(snapshots).at(-1);
  const forced = force && newest?.namespace.state === 'non-primary';
  const marker: MirrorRecord = { state: 'non-primary', complete: true, mirrorPeerUuids: [], primaryMirrorUuid: '' };
  return {
    append: [...(forced ? [marker] : []), { ...own('primary', peerUuids), ...(promotedAt && { promotedAt }) }],
    peerSets: linkNewPeers(snapshots, peerUuids),
  };
}

/** The copy of a point that a completed sync leaves, for those that we send to: a demotion stays a demotion. */
export const syncedSnapshot = (point: Point, demoted: boolean, peerUuids: readonly string[]): MirrorRecord => ({
  state: demoted ? 'non-primary-demoted' : 'non-primary',
  complete: true,
  mirrorPeerUuids: [...peerUuids],
  primaryMirrorUuid: point.mirrorUuid,
  primarySnapId: point.snapId,
});

const own = (state: 'primary' | 'primary-demoted', peerUuids: readonly string[]): MirrorRecord => ({
  state,
  complete: true,
  mirrorPeerUuids: [...peerUuids],
});

/** A peer that no snapshot lists has acknowledged nothing: keep the newest copy for it, which may be where it stands. */
function linkNewPeers(snapshots: readonly MirrorSnapshot[], peerUuids: readonly string[]): PeerSet[] {
  const copy = inOrder(snapshots).findLast((snapshot) => isCopy(snapshot) && snapshot.namespace.complete);
  if (!copy) return [];
  const known = new Set(
    snapshots.filter((s) => isOwn(s) && s.id > copy.id).flatMap((s) => s.namespace.mirrorPeerUuids),
  );
  const mirrorPeerUuids = [
    ...new Set([...copy.namespace.mirrorPeerUuids, ...peerUuids.filter((uuid) => !known.has(uuid))]),
  ];
  return mirrorPeerUuids.length > copy.namespace.mirrorPeerUuids.length ? [{ snapId: copy.id, mirrorPeerUuids }] : [];
}

/** `.mirror.primary.<global id>.<uuid>` or `.mirror.non_primary.…`; `uuid` is drawn for each snapshot. */
export const mirrorSnapshotName = (state: MirrorSnapshotState, globalId: string, uuid: string): string =>
  `.mirror.${isPrimaryState[state] ? 'primary' : 'non_primary'}.${globalId}.${uuid}`;

const isPrimaryState: Record<MirrorSnapshotState, boolean> = {
  primary: true,
  'primary-demoted': true,
  'non-primary': false,
  'non-primary-demoted': false,
};

export type Refusal = { code: ErrorCode; message: string };

type Mirrored = { mode: Mirror['mode']; state: Mirror['state']; snapshots: readonly MirrorSnapshot[] };

const einval = (message: string): Refusal => ({ code: 'EINVAL', message });

export const mirroringNotEnabled = einval('mirroring not enabled on the image');

/** The check that promote, demote, resync, status and snapshot share. */
export const canAsk = (mirror: { state: Mirror['state'] } | undefined): Refusal | undefined =>
  mirror?.state === 'enabled' ? undefined : mirroringNotEnabled;

const promoteRefusals: Record<PromotionState, { unforced: Refusal | undefined; forced: Refusal | undefined }> = {
  unknown: {
    unforced: einval('the image has no mirror snapshot to promote'),
    forced: einval('the image has no mirror snapshot to promote'),
  },
  primary: { unforced: einval('image is already primary'), forced: einval('image is already primary') },
  'non-primary': {
    unforced: { code: 'EBUSY', message: 'image is primary within a remote cluster or demotion is not propagated yet' },
    forced: undefined,
  },
  orphan: { unforced: undefined, forced: undefined },
};

/**
 * Undefined: go ahead. `remotePrimary`: a reachable peer says that it is primary; Ceph does not ask and lets two sites be
 * primary without force, farside refuses.
 */
export function canPromote(
  state: PromotionState,
  { force, remotePrimary = false }: { force: boolean; remotePrimary?: boolean },
): Refusal | undefined {
  const { unforced, forced } = promoteRefusals[state];
  if (force) return forced;
  return unforced ?? (remotePrimary ? promoteRefusals['non-primary'].unforced : undefined);
}

export const canDemote = (state: PromotionState): Refusal | undefined =>
  state === 'primary' ? undefined : einval('image is not primary');

export const canResync = (state: PromotionState): Refusal | undefined =>
  state === 'primary' ? einval('image is primary, cannot resync to itself') : undefined;

export function canCreateSnapshot(
  mirror: Mirrored | undefined,
  state: PromotionState,
  peerUuids: readonly string[],
): Refusal | undefined {
  if (mirror?.state !== 'enabled') return mirroringNotEnabled;
  if (mirror.mode !== 'snapshot') return einval('snapshot based mirroring not enabled on the image');
  if (state !== 'primary') {
    const previous = state === 'orphan' ? 'demoted' : 'non-primary';
    return einval(`trying to create primary snapshot without force when previous snapshot is ${previous}`);
  }
  return peerUuids.length === 0 ? einval('no mirror tx peers configured for the pool') : undefined;
}

export const canDisable = (state: PromotionState, { force }: { force: boolean }): Refusal | undefined =>
  state === 'primary' || force
    ? undefined
    : einval('mirrored image is not primary, add force option to disable mirroring');
