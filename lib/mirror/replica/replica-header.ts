// Owns what a completed sync makes of a replica's header. Pure.
//
// The image becomes what the primary was at the target: content, size, name, features, metadata and user snapshots. Kept
// besides: user snapshots that an earlier resync kept, and, when this is a resync, what the primary's history does not have:
// the losing head and the user snapshots taken since the histories parted.

import { assert } from '../../errors.ts';
import { withDataPool } from '../../image/features.ts';
import { isMirrorSnapshot, mirrorSnapshots, sameRoot, trashSnapshots, userSnapshots } from '../../image/header.ts';
import type { Header, ImageState, MirrorSnapshot, Snapshot, SnapshotState } from '../../image/header.ts';
import { withSnapshotLimit } from '../../image/snapshot-limit.ts';
import type { Plan } from './checkpoints.ts';
import { withRetained, type KeepPolicy } from '../roles/keep-policy.ts';
import { mirrorSnapshot } from '../roles/mirror-snapshots.ts';
import { pointOf, takenAtMs } from '../roles/history.ts';
import { headAt } from './replica-journal.ts';
import { copiesToUnlink, pruned, unlinkPeer, withPeerSets } from '../roles/retention.ts';
import { syncedSnapshot } from '../roles/role-changes.ts';
import type { MirrorRecord } from '../roles/role-changes.ts';

export type Completion = {
  nowMs: number;
  /** Drawn for the name of the mirror snapshot. */
  uuid: string;
  /** The primary's, unless another image here has it. */
  name: string;
  nameTaken: boolean;
  bytes: number;
  startedAtMs: number;
  /** Which points are kept here. */
  policy?: KeepPolicy | undefined;
  /** The peers that get copies from here, and how many are kept for one that does not catch up. */
  peerUuids: readonly string[];
  snapshotsMax: number;
};

export function completedHeader(header: Header, plan: Plan, completion: Completion): Header {
  const { target } = plan;
  const state = target.namespace.image;
  const mirrors = mirrorSnapshots(header).filter((snapshot) => !plan.lostSnapIds.includes(snapshot.id));
  const users = completedUsers(header, plan, mirrors.at(-1), completion.nowMs);
  const copied: Header = {
    ...withSnapshotLimit(header, state.snapshotLimit),
    name: completion.name,
    ...headAt(header, target),
    sizeBytes: target.sizeBytes,
    features: withDataPool(state.features, header.dataPool),
    meta: state.meta,
    mirror: completedMirror(header, plan, completion),
    ...completedParent(header, state),
    nextSnapshotId: users.nextSnapshotId + 1,
  };
  const added = mirrorSnapshot({ ...copied, root: target.root }, copyOf(plan, completion), {
    id: users.nextSnapshotId,
    nowMs: completion.nowMs,
    uuid: completion.uuid,
    image: stateHere(state, copied),
  });
  const kept = withPeerSets(mirrors, copiesToUnlink(mirrors, completion.peerUuids, completion.snapshotsMax));
  const all: Snapshot[] = [...kept, ...users.snapshots, added].toSorted((a, b) => a.id - b.id);
  // The peer took the target, so it needs none of our own older points.
  const unlinked = withPeerSets(all, unlinkPeer(all.filter(isMirrorSnapshot), plan.peerUuid, added.id));
  return {
    ...copied,
    snapshots: pruned(withRetained(unlinked, completion.policy)),
  };
}

/** The target may itself be a copy: it is the primary's point that is recorded. */
function copyOf({ target, demoted, primaryMirrorUuid }: Plan, { peerUuids }: Completion): MirrorRecord {
  const point = pointOf(target, primaryMirrorUuid);
  assert(point, 'what is copied is a whole point');
  const { position, promotedAt } = target.namespace;
  return {
    ...syncedSnapshot(point, demoted, peerUuids),
    primaryCreatedAtMs: takenAtMs(target),
    ...(position && { position }),
    ...(promotedAt && { promotedAt }),
  };
}

function completedMirror(
  header: Header,
  plan: Plan,
  { nowMs, bytes, startedAtMs, nameTaken }: Completion,
): NonNullable<Header['mirror']> {
  const { mode, globalId, lastSync, resyncRequestedAtMs, retention } = header.mirror!;
  return {
    mode,
    state: 'enabled',
    globalId,
    ...(retention === undefined ? {} : { retention }),
    // A request that came while an ordinary sync was running is still to be done.
    ...(resyncRequestedAtMs !== undefined && !plan.resync ? { resyncRequestedAtMs } : {}),
    lastSync: {
      peerUuid: plan.peerUuid,
      peerMirrorUuid: plan.primaryMirrorUuid,
      bytes,
      seconds: Math.max(0, nowMs - startedAtMs) / 1000,
      remoteTimestampMs: takenAtMs(plan.target),
      completedAtMs: nowMs,
      snapshots: (lastSync?.snapshots ?? 0) + 1,
      totalBytes: (lastSync?.totalBytes ?? 0) + bytes,
    },
    ...(nameTaken
      ? {
          problem: {
            description: 'failed to apply remote image state: the name is taken',
            error: true,
            sinceMs: nowMs,
          },
        }
      : {}),
  };
}

/** The link stays; what the primary was flattened to, this image has to become by itself (lib/image/clones/flatten.ts). */
function completedParent({ parent, collectGeneration }: Header, state: ImageState): Pick<Header, 'parent'> {
  if (!parent) return {};
  if (state.parent) return { parent: { ...parent, overlapBytes: state.parent.overlapBytes } };
  const begun = parent.flatten ?? { fromOffset: 0, generation: collectGeneration };
  return { parent: { ...parent, flatten: { ...begun, due: true } } };
}

/** As the next site of a chain has to read it: the parent is the one here. */
function stateHere(state: ImageState, { parent }: Header): ImageState {
  if (!state.parent || !parent) return state;
  const { imageId, snapshotId } = parent;
  return { ...state, parent: { ...state.parent, imageId, snapshotId } };
}

type Users = { snapshots: Snapshot[]; nextSnapshotId: number };

function completedUsers(header: Header, plan: Plan, shared: MirrorSnapshot | undefined, nowMs: number): Users {
  let nextSnapshotId = header.nextSnapshotId;
  const before = userSnapshots(header);
  const known = [...before, ...trashSnapshots(header)];
  const ids = new Set<number>();
  const theirs = plan.target.namespace.image.snapshots.map((wanted) => {
    const same = sameSnapshot(
      wanted,
      known.filter(({ id }) => !ids.has(id)),
    );
    const id = same?.id ?? nextSnapshotId++;
    ids.add(id);
    return copiedSnapshot(wanted, id);
  });
  const names = new Set(theirs.map((snapshot) => snapshot.name));
  const kept = before
    .filter((snapshot) => !ids.has(snapshot.id) && (isKept(snapshot) || (plan.resync && !wasShared(snapshot, shared))))
    .map((snapshot): Snapshot => ({
      ...snapshot,
      name: freeName(snapshot.name, names),
      namespace: { type: 'user', keep: true },
    }));
  const head = plan.keepHead ? [keptHead(header, nextSnapshotId++, names, nowMs)] : [];
  return { snapshots: [...theirs, ...kept, ...head], nextSnapshotId };
}

/** The one that was copied before, though it may have been renamed since, or put into the trash: clones here are linked to its id. */
const sameSnapshot = (wanted: SnapshotState, known: readonly Snapshot[]): Snapshot | undefined => {
  const alike = known.filter(({ root }) => sameRoot(root, wanted.root));
  const isOlder = (one: Snapshot): boolean => one.createdAtMs === wanted.createdAtMs && !isKept(one);
  return alike.find(({ name }) => name === wanted.name) ?? alike.find(isOlder);
};

const copiedSnapshot = ({ trashName, ...state }: SnapshotState, id: number): Snapshot =>
  trashName === undefined
    ? { ...state, id, namespace: { type: 'user' } }
    : {
        ...state,
        id,
        name: trashName,
        protected: false,
        namespace: { type: 'trash', originalName: state.name, originalType: 'user' },
      };

const isKept = (snapshot: Snapshot): boolean => snapshot.namespace.type === 'user' && snapshot.namespace.keep === true;

/** The last point that both sites had already knew it, so the primary has removed it since. */
const wasShared = (snapshot: Snapshot, shared: MirrorSnapshot | undefined): boolean =>
  shared?.namespace.image.snapshots.some((one) => one.name === snapshot.name && sameRoot(one.root, snapshot.root)) ??
  false;

/** The losing head, for the user to look into and to remove. */
function keptHead(header: Header, id: number, names: Set<string>, nowMs: number): Snapshot {
  const day = new Date(nowMs).toISOString().slice(0, 19).replace(/[:]/g, '-');
  const { root, sizeBytes } = header;
  const name = freeName(`before-resync-${day}`, names);
  return { id, name, root, sizeBytes, createdAtMs: nowMs, protected: false, namespace: { type: 'user', keep: true } };
}

/** Also takes the name. */
function freeName(name: string, names: Set<string>): string {
  let free = name;
  for (let count = 2; names.has(free); count++) free = `${name}-kept-${count}`;
  names.add(free);
  return free;
}
