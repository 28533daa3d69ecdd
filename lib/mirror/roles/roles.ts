// Owns two decisions over lists of mirror snapshots: which role an image has, and what a replica does next. Pure: no I/O,
// no clock. Ceph's rules (reference §2.2, §2.5), with three deliberate differences:
//
// - Coalescing: the target is the newest snapshot of the primary, not the oldest one that is left; a retention policy here
//   (keep-policy.ts) has those in between copied that it keeps.
// - A resync keeps the image, copies only what differs, and keeps the losing head as an ordinary snapshot. It acts only
//   while the remote is primary, so it never touches the last good copy.
// - History is compared by points (history.ts), so a site may follow any site that holds its newest point, not only the
//   one that it copied the point from. A replica offers its copies as a primary offers its snapshots: so sites form chains, and
//   one may receive from several, since it only ever moves to what descends from its own newest point.
//
// What retention must keep so that these decisions stay possible is in retention.ts.

import type { MirrorSnapshot, Sync } from '../../image/header.ts';
import { findPoint, inOrder, isCopy, isDemotion, isOrphanMarker, newestPoint, pointOf, relationOf } from './history.ts';
import type { Site } from './history.ts';
import { firstKept, type KeepPolicy } from './keep-policy.ts';

export type PromotionState = 'unknown' | 'primary' | 'non-primary' | 'orphan';

type NewestKind = 'none' | 'orphan-marker' | `${MirrorSnapshot['namespace']['state']}${'' | ' incomplete'}`;

const promotionStateOf: Record<NewestKind, PromotionState> = {
  none: 'unknown',
  primary: 'primary',
  'primary incomplete': 'primary',
  'primary-demoted': 'orphan',
  'primary-demoted incomplete': 'orphan',
  'non-primary': 'non-primary',
  'non-primary incomplete': 'non-primary',
  'non-primary-demoted': 'orphan',
  // The demotion has not fully arrived: an unforced promotion would lose its end.
  'non-primary-demoted incomplete': 'non-primary',
  'orphan-marker': 'orphan',
};

/** The role that the newest mirror snapshot gives an image (reference §2.2). */
export function promotionState(snapshots: readonly MirrorSnapshot[]): PromotionState {
  const newest = inOrder(snapshots).at(-1);
  if (!newest) return promotionStateOf.none;
  if (isOrphanMarker(newest)) return promotionStateOf['orphan-marker'];
  return promotionStateOf[`${newest.namespace.state}${newest.namespace.complete ? '' : ' incomplete'}`];
}

/** This site, which may become or be a replica. */
export type LocalView = {
  mirrorUuid: string;
  /** The uuid under which the remote lists us in its snapshots' peer sets. */
  peerUuid: string;
  /** Undefined: no image with that global id here. */
  image?:
    | {
        state: 'enabled' | 'disabling' | 'creating';
        snapshots: readonly MirrorSnapshot[];
        resyncRequested: boolean;
        sync?: Pick<Sync, 'primaryMirrorUuid' | 'targetSnapId' | 'resync'> | undefined;
        /** Points in between that are to be kept here are copied one by one. */
        policy?: KeepPolicy | undefined;
      }
    | undefined;
  /** An unrelated image has the name that the replica would get. Matters only while there is no local image. */
  nameTaken: boolean;
  /** Mirroring of it was given up here. Matters only while there is no local image: a copy elsewhere must not bring it back. */
  givenUp?: boolean | undefined;
};

/** `removed`: the image of that primary was removed, or its mirroring given up. Mere absence is `absent`, and deletes nothing. */
export type RemoteView =
  | {
      kind: 'present';
      mirrorUuid: string;
      state: 'enabled' | 'disabling' | 'creating';
      snapshots: readonly MirrorSnapshot[];
    }
  | { kind: 'removed'; mirrorUuid: string }
  | { kind: 'absent' };

export type StopReason =
  | 'local-primary'
  | 'force-promoted'
  | 'remote-demoted'
  | 'remote-not-primary'
  | 'remote-gone'
  | 'split-brain'
  | 'name-clash'
  | 'disconnected';

/** Ceph's words for why replication stands still, and the image status that goes with them (reference §2.7). */
export const stopStatus: Record<StopReason, { state: 'stopped' | 'unknown' | 'error'; description: string }> = {
  'local-primary': { state: 'stopped', description: 'local image is primary' },
  'force-promoted': { state: 'stopped', description: 'force promoted' },
  'remote-demoted': { state: 'unknown', description: 'remote image demoted' },
  'remote-not-primary': { state: 'unknown', description: 'remote image is not primary' },
  'remote-gone': { state: 'error', description: 'remote image no longer exists' },
  'split-brain': { state: 'error', description: 'split-brain' },
  disconnected: { state: 'error', description: 'disconnected' },
  'name-clash': { state: 'error', description: 'name clash: another image has the name of this one' },
};

export type SyncDecision = {
  kind: 'sync';
  /** Make the local image first; there is none. */
  create: boolean;
  /** The remote's snapshot to copy, and whether it records a demotion (then the copy is non-primary-demoted). */
  targetSnapId: number;
  demoted: boolean;
  /** The remote's snapshot that we hold already; claim it with the target (retention.ts `claimTarget`). Absent: nothing is shared for sure. */
  linkSnapId?: number;
  /** Replace the local head and keep it as an ordinary snapshot; see retention.ts `snapshotsLostByResync`. */
  resync: boolean;
  /** What the replica has of a journal is not in the remote's history: a resync keeps it. */
  losesTail?: boolean;
  /** The header's unfinished sync has this target: go on with it. */
  continues: boolean;
};

export type StopDecision = {
  kind: 'stop';
  reason: StopReason;
  state: 'stopped' | 'unknown' | 'error';
  description: string;
  acknowledge?: number;
};

/** `acknowledge`: the remote still lists us on snapshots older than this one, so our last acknowledgement was lost: send it again. */
export type Decision =
  | SyncDecision
  | StopDecision
  | { kind: 'idle'; acknowledge?: number }
  /** The remote removed its image: remove our copy of it. */
  | { kind: 'remove' }
  | { kind: 'wait'; why: string };

export type SyncInput = { local: LocalView; remote: RemoteView };

type Image = NonNullable<LocalView['image']>;
type Present = Extract<RemoteView, { kind: 'present' }>;

/** What a site does next about one image of one peer. */
export function decideSync({ local, remote }: SyncInput): Decision {
  const { image } = local;
  if (!image) return decideWithoutImage(local, remote);
  if (image.state === 'disabling') return { kind: 'wait', why: 'mirroring of the local image is being disabled' };
  if (promotionState(image.snapshots) === 'primary') return stop(image.sync ? 'force-promoted' : 'local-primary');
  if (remote.kind !== 'present') return decideWithoutRemote(local, image, remote);
  if (remote.state === 'disabling') return { kind: 'wait', why: 'mirroring of the remote image is being disabled' };
  if (image.state === 'creating' && image.snapshots.length === 0) return decideFirstSync(image, remote);
  if (image.resyncRequested || image.sync?.resync) return decideResync(local, image, remote);
  return decideNext(local, image, remote);
}

function decideWithoutImage(local: LocalView, remote: RemoteView): Decision {
  if (remote.kind !== 'present') return { kind: 'idle' };
  if (remote.state !== 'enabled') return { kind: 'wait', why: 'the remote image is not ready' };
  const state = promotionState(remote.snapshots);
  if (local.givenUp === true && state !== 'primary') return { kind: 'idle' };
  // What was ours once does not come back by itself: its loss must be seen.
  const follows = state === 'non-primary' && offers(remote) && !isOurs(local, remote);
  if (state !== 'primary' && !follows) return stop('remote-not-primary');
  if (local.nameTaken) return stop('name-clash');
  return { ...syncTo(remote), create: true };
}

/** Deletes only what is a mere copy of the very image that was removed: never a primary, never a demoted image. */
function decideWithoutRemote(local: LocalView, image: Image, remote: RemoteView): Decision {
  if (remote.kind === 'absent') return stop('remote-gone');
  const last = newestPoint(siteOf(local, image));
  // What has no point yet holds nothing.
  const isCopied = !last || last.namespace.primaryMirrorUuid === remote.mirrorUuid;
  const onlyCopied = image.snapshots.length === 0 || promotionState(image.snapshots) === 'non-primary';
  return onlyCopied && isCopied ? { kind: 'remove' } : stop('remote-gone');
}

/**
 * A resync begins only while the remote is primary, or follows another site's primary; one that has begun may also end in a
 * demotion. A copy of our own points is no replacement for them. While a request waits, an ordinary sync goes on: the end of a
 * demoted primary has to arrive, so that an orderly promotion here is possible.
 */
function decideResync(local: LocalView, image: Image, remote: Present): Decision {
  const begun = image.sync?.resync === true && image.sync.primaryMirrorUuid === remote.mirrorUuid;
  const state = promotionState(remote.snapshots);
  const follows = state === 'non-primary' && offers(remote) && !isOurs(local, remote);
  if (state !== 'primary' && !follows && !(begun && offers(remote))) return decideMeanwhile(local, image, remote);
  const link = linkOf(local, image, remote);
  return { ...syncTo(remote, unfinishedTarget(image, remote, true)), ...linkField(link), resync: true };
}

function decideMeanwhile(local: LocalView, image: Image, remote: Present): Decision {
  const next = image.sync?.resync === true ? undefined : decideNext(local, image, remote);
  return next?.kind === 'sync' ? next : stop('remote-not-primary');
}

/** The image exists but holds nothing yet: its first sync was cut short, or has not begun. */
function decideFirstSync(image: Image, remote: Present): Decision {
  if (!offers(remote)) return stop('remote-not-primary');
  return syncTo(remote, unfinishedTarget(image, remote, false));
}

function decideNext(local: LocalView, image: Image, remote: Present): Decision {
  if (!offers(remote)) return stop('remote-not-primary');
  const state = promotionState(remote.snapshots);
  const link = linkOf(local, image, remote);
  if (!link) return stop(state !== 'primary' && isBehind(local, image, remote) ? 'remote-not-primary' : 'split-brain');
  if (newest(remote).id > link.id)
    return {
      ...syncTo(remote, unfinishedTarget(image, remote, false, link), nextKept(image, remote, link)),
      linkSnapId: link.id,
    };
  const acknowledge = acknowledgeField(remote, local.peerUuid, link);
  if (state !== 'orphan') return { kind: 'idle', ...acknowledge };
  return { ...stop(isOurs(local, remote) ? 'remote-not-primary' : 'remote-demoted'), ...acknowledge };
}

/**
 * It is for the remote to follow us: it was demoted, we took over from there and were demoted in turn; or it stands at an older
 * point of the primary whose point is our newest.
 */
function isBehind(local: LocalView, image: Image, remote: Present): boolean {
  const here = siteOf(local, image);
  if (relationOf(here, remote) === 'ahead') return true;
  const [ours, theirs] = [newestPoint(here), newest(remote)];
  const our = ours && pointOf(ours, here.mirrorUuid);
  const their = isCopy(theirs) ? pointOf(theirs, remote.mirrorUuid) : undefined;
  return our !== undefined && their?.mirrorUuid === our.mirrorUuid && their.snapId < our.snapId;
}

/** The newest word of the remote is a whole point: its own, or a copy of another's. */
const offers = (remote: Present): boolean => {
  const last = inOrder(remote.snapshots).at(-1);
  return last !== undefined && pointOf(last, remote.mirrorUuid) !== undefined;
};

/** The remote's newest point was made here. */
const isOurs = (local: LocalView, remote: Present): boolean =>
  pointOf(newest(remote), remote.mirrorUuid)?.mirrorUuid === local.mirrorUuid;

const newest = (remote: Present): MirrorSnapshot => inOrder(remote.snapshots).at(-1)!;

/** The remote's snapshot that stands for our newest point. Undefined: the remote does not descend from us, as far as it can show. */
function linkOf(local: LocalView, image: Image, remote: Present): MirrorSnapshot | undefined {
  const here = siteOf(local, image);
  const last = newestPoint(here);
  return last && findPoint(last, here, remote);
}

/**
 * A sync goes on to the target that it began with, so that a fast schedule cannot starve it; a target that the remote no
 * longer has is given up, and what was copied stays of use.
 */
function unfinishedTarget(
  image: Image,
  remote: Present,
  resync: boolean,
  after?: MirrorSnapshot,
): MirrorSnapshot | undefined {
  const { sync } = image;
  if (!sync || sync.primaryMirrorUuid !== remote.mirrorUuid || sync.resync !== resync) return undefined;
  return remote.snapshots.find(
    (s) => s.id === sync.targetSnapId && pointOf(s, remote.mirrorUuid) !== undefined && s.id > (after?.id ?? -1),
  );
}

/** With a retention policy, the first point behind the link that it keeps; without one there is none but the newest. */
const nextKept = (image: Image, remote: Present, link: MirrorSnapshot): MirrorSnapshot | undefined =>
  image.policy &&
  firstKept(
    remote.snapshots.filter((s) => s.id > link.id && pointOf(s, remote.mirrorUuid) !== undefined),
    image.policy,
  );

function syncTo(remote: Present, unfinished?: MirrorSnapshot, next?: MirrorSnapshot): SyncDecision {
  const target = unfinished ?? next ?? newest(remote);
  const demoted = isDemotion(target);
  return {
    kind: 'sync',
    create: false,
    targetSnapId: target.id,
    demoted,
    resync: false,
    continues: unfinished !== undefined,
  };
}

const siteOf = (local: LocalView, image: Image): Site => ({ mirrorUuid: local.mirrorUuid, snapshots: image.snapshots });

const stop = (reason: StopReason): StopDecision => ({ kind: 'stop', reason, ...stopStatus[reason] });

const linkField = (link: MirrorSnapshot | undefined): { linkSnapId?: number } => (link ? { linkSnapId: link.id } : {});

function acknowledgeField(remote: Present, peerUuid: string, link: MirrorSnapshot): { acknowledge?: number } {
  const listed = remote.snapshots.some((s) => s.id < link.id && s.namespace.mirrorPeerUuids.includes(peerUuid));
  return listed ? { acknowledge: link.id } : {};
}
