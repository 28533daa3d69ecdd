// Owns how a decision about roles becomes snapshots in a header. Pure: the caller draws uuids and commits the header.

import { mirrorSnapshots, trashSnapshots, userSnapshots } from '../../image/header.ts';
import type {
  Header,
  ImageState,
  JournalPosition,
  MirrorSnapshot,
  Parent,
  QuiesceFailure,
  Snapshot,
  SnapshotState,
} from '../../image/header.ts';
import { childrenOf } from '../../image/clones/lineage.ts';
import { pruned, snapshotsToUnlink, withPeerSets } from './retention.ts';
import type { PeerSet } from './retention.ts';
import { mirrorSnapshotName } from './role-changes.ts';
import type { MirrorRecord, RoleChange } from './role-changes.ts';

/** What a mirror snapshot records of the image besides its data. */
export const imageStateOf = (header: Header): ImageState => ({
  name: header.name,
  sizeBytes: header.sizeBytes,
  features: header.features,
  ...(header.dataPool === undefined ? {} : { dataPool: header.dataPool }),
  meta: header.meta,
  snapshots: [...userSnapshots(header).map((snapshot) => snapshotState(snapshot)), ...neededInTrash(header)],
  ...(header.snapshotLimit === undefined ? {} : { snapshotLimit: header.snapshotLimit }),
  ...(header.parent && { parent: linkState(header.parent) }),
});

const snapshotState = ({ name, root, sizeBytes, createdAtMs, protected: isProtected }: Snapshot): SnapshotState => ({
  name,
  root,
  sizeBytes,
  createdAtMs,
  protected: isProtected,
});

/** A replica of the image needs them for the replicas of its clones. */
const neededInTrash = (header: Header): SnapshotState[] =>
  trashSnapshots(header).flatMap((snapshot) =>
    snapshot.namespace.type === 'trash' && childrenOf(header, snapshot.id).length > 0
      ? [{ ...snapshotState(snapshot), name: snapshot.namespace.originalName, trashName: snapshot.name }]
      : [],
  );

const linkState = ({ imageId, snapshotId, root, overlapBytes, cloneFormat }: Parent): ImageState['parent'] => ({
  imageId,
  snapshotId,
  root,
  overlapBytes,
  cloneFormat,
});

/** Of an image in use: what is in its root. */
const positionOf = ({ journal }: Header): { position?: JournalPosition } =>
  journal?.state === 'open' ? { position: journal.folded } : {};

/** A mirror snapshot of the header's content as it is. */
export function mirrorSnapshot(
  header: Header,
  record: MirrorRecord,
  options: { id: number; nowMs: number; uuid: string; image?: ImageState },
): MirrorSnapshot {
  const globalId = header.mirror?.globalId ?? '';
  return {
    id: options.id,
    name: mirrorSnapshotName(record.state, globalId, options.uuid),
    root: header.root,
    sizeBytes: header.sizeBytes,
    createdAtMs: options.nowMs,
    protected: false,
    namespace: { type: 'mirror', ...record, ...positionOf(header), image: options.image ?? imageStateOf(header) },
  };
}

/** What the newest snapshot records if a schedule takes it. */
export type OfSlot = { slotMs?: number | undefined; quiesceFailure?: QuiesceFailure | undefined };

/** `uuids`: one for each appended snapshot, at most two. */
export type RoleChangeOptions = OfSlot & {
  nowMs: number;
  uuids: readonly [string, string];
  snapshotsMax: number;
};

/** The header after a change of role or a new primary snapshot: peer sets, new snapshots, pruned. The newest one is last. */
export function withRoleChange(
  header: Header,
  change: RoleChange,
  peerUuids: readonly string[],
  options: RoleChangeOptions,
): Header {
  const linked = withPeerSets(header.snapshots, change.peerSets);
  const kept = withPeerSets(linked, withoutStrangers(mirrorsIn(linked), peerUuids));
  const capped = withPeerSets(kept, snapshotsToUnlink(mirrorsIn(kept), peerUuids, options.snapshotsMax));
  const added = change.append.map((record, index) => {
    const made = mirrorSnapshot(header, record, {
      id: header.nextSnapshotId + index,
      nowMs: options.nowMs,
      uuid: options.uuids[index] ?? '',
    });
    const { slotMs, quiesceFailure } = options;
    const isNewest = index === change.append.length - 1;
    return isNewest && slotMs !== undefined
      ? { ...made, namespace: { ...made.namespace, slotMs, ...(quiesceFailure && { quiesceFailure }) } }
      : made;
  });
  return { ...header, snapshots: pruned([...capped, ...added]), nextSnapshotId: header.nextSnapshotId + added.length };
}

/** A peer that was removed while a snapshot was taken may still be listed; it is forgotten at the next chance. */
function withoutStrangers(snapshots: readonly MirrorSnapshot[], peerUuids: readonly string[]): PeerSet[] {
  return snapshots.flatMap(({ id, namespace: { mirrorPeerUuids } }) => {
    const known = mirrorPeerUuids.filter((uuid) => peerUuids.includes(uuid));
    return known.length < mirrorPeerUuids.length ? [{ snapId: id, mirrorPeerUuids: known }] : [];
  });
}

const mirrorsIn = (snapshots: readonly Snapshot[]): MirrorSnapshot[] =>
  snapshots.filter((s): s is MirrorSnapshot => s.namespace.type === 'mirror');

export const newestMirrorSnapshot = (header: Header): MirrorSnapshot | undefined => mirrorSnapshots(header).at(-1);
