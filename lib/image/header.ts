// Owns the shape of an image's header: the one mutable document of an image. Pure: no I/O.
//
// Invariant I1 rests on an order that every writer keeps: packs first, header last. A header names only entries that are
// present and readable.

import { z } from 'zod';

const uuid = z.string().min(1).max(64);
const count = z.int().min(0);

/**
 * Points at the root node of a map. `null` where a root is expected means a map without any data: all holes.
 * - `pack`, `entry`: where the root node is. `entryCount`, `packBytes`: of that pack when complete, so that its index can
 *   be read at once and a copy's size is known.
 * - `level`: 0 when the root is a leaf (one object); a node of level n covers `objectBytes × 256^n`.
 * - `hash`: of `pack` and `entry` (128 bits, hex; map.ts `rootHash`). References commit to hashes, so equal `hash` proves equal content.
 * - `usedBytes`: bytes of image data that are not holes.
 */
export const rootSchema = z.object({
  pack: z.string().regex(/^[0-9a-f]{32}$/),
  entry: count,
  entryCount: count,
  packBytes: count,
  level: z.int().min(0).max(7),
  hash: z.string().regex(/^[0-9a-f]{32}$/),
  usedBytes: count,
});
export type Root = z.infer<typeof rootSchema>;

const epochId = z.string().regex(/^[0-9a-f]{16}$/);

/**
 * A place in an image's journal: everything before slot `seq` of `epoch`. `tag` counts the image's epochs from 1 (Ceph's tag
 * tid); `entry` counts the requests that were written before it in this epoch (Ceph's entry tid).
 */
export const journalPositionSchema = z.object({ epoch: epochId, tag: count, seq: count, entry: count });
export type JournalPosition = z.infer<typeof journalPositionSchema>;

/** The slot of a journal that a pack was born in (node.ts, `Slot`), where it goes from site to site. */
export const slotSchema = z.object({ epoch: epochId, seq: count });

/** Who has the image attached for writing: Ceph's exclusive lock. */
const journalOwnerSchema = z.object({
  /** As `lock ls` shows it: `auto <number>`. */
  lockId: z.string().max(64),
  /** `client.<number>`. */
  locker: z.string().max(64),
  /** `host:0/<process id>`. */
  address: z.string().max(256),
  sinceMs: z.number(),
  /** What tells its process from a later one with the same id, in words of its host. */
  process: z.string().max(512).optional(),
  /** It has a hook that stills what writes to the image, and wants to be asked before a snapshot is taken (quiesce.ts). */
  quiesces: z.boolean().optional(),
});
export type JournalOwner = z.infer<typeof journalOwnerSchema>;

/** Of a failed hook's last words, characters. */
export const quiesceFailureCharsMax = 1000;

const quiesceFailureSchema = z.object({ code: z.string().max(32), message: z.string().max(quiesceFailureCharsMax) });
export type QuiesceFailure = z.infer<typeof quiesceFailureSchema>;

/** What somebody who takes a snapshot asks of the attached writer, and its answer (quiesce.ts). One at a time; it ends with the epoch. */
const quiesceRequestSchema = z.object({
  /** Drawn by who asks. */
  id: z.string().min(1).max(64),
  /** By the clock of who asks, who waits no longer. */
  untilMs: z.number(),
  state: z.enum(['asked', 'quiesced', 'failed']),
  /** When `quiesced`: all that was written is in the slots before it, and nothing more is written while this stands. */
  seq: count.optional(),
  /** When `failed`. */
  failure: quiesceFailureSchema.optional(),
});
export type QuiesceRequest = z.infer<typeof quiesceRequestSchema>;

/** A fence says it in two bytes. */
export const fencesPassedMax = 0xff_ff;

/** Closed epochs that a header remembers. */
export const pastEpochsMax = 32;

/**
 * The journal of an image that was attached for writing (docs/format.md, "Journal").
 * - `open`: there is, or was until it died, an attached writer; the head is `root` and the slots from `folded` on.
 * - `following`: a replica whose slots are copied from its primary; the head likewise.
 * - `closed`: `root` is the whole head.
 */
export const journalSchema = z.object({
  state: z.enum(['open', 'following', 'closed']),
  /** Slots before it are in `root`. */
  folded: journalPositionSchema,
  /** While open. */
  owner: journalOwnerSchema.optional(),
  /** Of a replica: fences of so many promotions that did not happen were passed in this epoch (journal/replica-end.ts). None, if it is left out. */
  fencesPassed: count.max(fencesPassedMax).optional(),
  /** While open, and somebody waits for the writer. */
  quiesce: quiesceRequestSchema.optional(),
  /** Earlier epochs, newest last. `endSeq`: where its fence is. */
  past: z.array(z.object({ epoch: epochId, tag: count, endSeq: count, entries: count })).max(pastEpochsMax),
});
export type Journal = z.infer<typeof journalSchema>;

/** A user snapshot as it was when a mirror snapshot was taken; the replica's user snapshots become exactly these. */
export const snapshotStateSchema = z.object({
  name: z.string(),
  root: rootSchema.nullable(),
  sizeBytes: count,
  createdAtMs: z.number(),
  protected: z.boolean(),
  /** It was removed while clones need it: its name in the trash; `name` is the one that it had. */
  trashName: z.string().optional(),
});

export type SnapshotState = z.infer<typeof snapshotStateSchema>;

const imageId = z.string().regex(/^[0-9a-f]{24}$/);

/** krbd's limit of a chain of clones: it bounds what one missing pack costs. */
export const ancestorsMax = 16;

const parentLinkSchema = z.object({
  imageId,
  snapshotId: count,
  /** The parent snapshot's. It never changes, so reading a clone needs no look at its parent. */
  root: rootSchema.nullable(),
  /** The smallest size that the clone has had since, at most the snapshot's: shown, and of no other consequence. */
  overlapBytes: count,
  /** 1: the snapshot is protected, and cannot be unprotected while such a clone exists. */
  cloneFormat: z.union([z.literal(1), z.literal(2)]),
});

/** What a mirror snapshot carries besides data: Ceph's image state object (`rbd_mirror_snapshot.…`). */
export const imageStateSchema = z.object({
  name: z.string(),
  sizeBytes: count,
  features: z.array(z.string()),
  meta: z.record(z.string(), z.string()),
  snapshots: z.array(snapshotStateSchema),
  snapshotLimit: count.optional(),
  dataPool: z.string().optional(),
  /** Of a clone; the ids are those of the site that took the snapshot. */
  parent: parentLinkSchema.optional(),
});
export type ImageState = z.infer<typeof imageStateSchema>;

/** Ceph's four mirror snapshot states. */
export const mirrorStateSchema = z.enum(['primary', 'primary-demoted', 'non-primary', 'non-primary-demoted']);
export type MirrorSnapshotState = z.infer<typeof mirrorStateSchema>;

export const mirrorNamespaceSchema = z.object({
  type: z.literal('mirror'),
  state: mirrorStateSchema,
  complete: z.boolean(),
  mirrorPeerUuids: z.array(uuid),
  /** On non-primary snapshots: whose snapshot this is a copy of. Empty string: an orphan made by a forced promotion. */
  primaryMirrorUuid: z.string().optional(),
  primarySnapId: count.optional(),
  /** The schedule slot that this snapshot was taken for (ms since the epoch); a slot is taken once. */
  slotMs: z.number().optional(),
  /** On those of a schedule: the attached writer has a hook, and was not quiesced, for this reason. */
  quiesceFailure: quiesceFailureSchema.optional(),
  /** On copies: when the primary took it. */
  primaryCreatedAtMs: z.number().optional(),
  /** On copies: the retention policy here keeps this point (lib/mirror/roles/keep-policy.ts). */
  retained: z.boolean().optional(),
  /** Where in the primary's journal it was taken: its content is everything before. Absent: the image had no open journal. */
  position: journalPositionSchema.optional(),
  /** Where in its former primary's journal the image was when it was promoted: the history here goes on from there. */
  promotedAt: journalPositionSchema.optional(),
  image: imageStateSchema,
});
export type MirrorNamespace = z.infer<typeof mirrorNamespaceSchema>;

export const snapshotSchema = z.object({
  id: count,
  name: z.string(),
  root: rootSchema.nullable(),
  sizeBytes: count,
  createdAtMs: z.number(),
  protected: z.boolean(),
  namespace: z.discriminatedUnion('type', [
    /** `keep`: made by a resync from the losing history; replication does not remove it, the user may. */
    z.object({ type: z.literal('user'), keep: z.boolean().optional() }),
    mirrorNamespaceSchema,
    /** Removed, but clones of it are left; it goes with the last of them. */
    z.object({ type: z.literal('trash'), originalName: z.string(), originalType: z.enum(['user', 'mirror']) }),
  ]),
});
export type Snapshot = z.infer<typeof snapshotSchema>;
export type MirrorSnapshot = Snapshot & { namespace: MirrorNamespace };

/** A replica's unfinished copy. While it is there, collection leaves the image alone. */
export const syncSchema = z.object({
  /** Drawn anew for every sync, so that no marker of an earlier one can be taken for its own (checkpoints.ts). */
  syncId: z.string(),
  peerUuid: uuid,
  primaryMirrorUuid: uuid,
  primaryImageId: z.string(),
  targetSnapId: count,
  targetCreatedAtMs: z.number(),
  startedAtMs: z.number(),
  resync: z.boolean(),
});
export type Sync = z.infer<typeof syncSchema>;

export const mirrorSchema = z.object({
  mode: z.enum(['journal', 'snapshot']),
  state: z.enum(['enabled', 'disabling', 'creating']),
  globalId: uuid,
  resyncRequestedAtMs: z.number().optional(),
  /** Peers, by our records of them, that get nothing of the journal until they are resynced. */
  disconnected: z.array(uuid).optional(),
  /** Which points in time are kept here, as `24h,7d`; absent: as the pool says. */
  retention: z.string().optional(),
  sync: syncSchema.optional(),
  /** The id of the sync that was recorded last, also when it was given up since: no copy that began before it completes. */
  attempt: z.string().optional(),
  lastSync: z
    .object({
      /** Our record of the peer that we copied from. */
      peerUuid: uuid.optional(),
      /** That peer's own identity; the point that it gave may be another site's. */
      peerMirrorUuid: uuid.optional(),
      bytes: count,
      seconds: z.number(),
      remoteTimestampMs: z.number(),
      completedAtMs: z.number(),
      snapshots: count,
      totalBytes: count,
    })
    .optional(),
  /** Why replication stands still, in Ceph's words: `split-brain`, `remote image demoted` … `peerUuid`: with whom it is split. */
  problem: z
    .object({ description: z.string(), error: z.boolean(), sinceMs: z.number(), peerUuid: uuid.optional() })
    .optional(),
});
export type Mirror = z.infer<typeof mirrorSchema>;

/** How often an image may have changed its mirroring within the time that it remembers, and points remembered of each. */
export const formerlyMax = 8;
export const formerRootsMax = 64;

/**
 * What an image was mirrored as until that was given up on purpose (formerly.ts), newest last. `roots`: its points then, which the
 * other side may have as well. They count as reachable.
 */
export const formerSchema = z.object({
  globalId: uuid,
  roots: z.array(rootSchema).max(formerRootsMax),
  /** Collection forgets it then. */
  untilMs: z.number(),
});
export type Former = z.infer<typeof formerSchema>;

/**
 * A clone's link to the snapshot that it was made from. The clone's map began as the snapshot's, so a pack that it needs may be
 * the parent's: see `packSources`.
 * - `packsIn`: the parent, then what the parent had here when the clone was made. An image flattened since holds all itself.
 * - `unnamed`: the clone is being made and has not claimed its name; one that died like this is not an image (lineage.ts).
 * - `isTest`: made to try a failover out, and removed by its clean-up.
 * - `flatten`: everything before `fromOffset` is in this image's own packs, if no collection came since `generation`. `due`:
 *   the primary was flattened, so this site goes on by itself.
 */
export const parentSchema = parentLinkSchema.extend({
  packsIn: z.array(imageId).min(1).max(ancestorsMax),
  unnamed: z.boolean().optional(),
  isTest: z.boolean().optional(),
  flatten: z.object({ fromOffset: count, generation: count, due: z.boolean().optional() }).optional(),
});
export type Parent = z.infer<typeof parentSchema>;

/** A clone of one of this image's snapshots, registered before it exists (lineage.ts). */
export const childSchema = z.object({
  imageId,
  pool: z.string(),
  snapshotId: count,
  cloneFormat: parentLinkSchema.shape.cloneFormat,
  sinceMs: z.number(),
});
export type Child = z.infer<typeof childSchema>;

/** Names the condemned list that a collection is deleting right now; writers check it before they commit (docs/protocol.md). */
export const collectSchema = z.object({ run: z.string(), step: count, startedAtMs: z.number() });

/** The image is in the trash (trash.ts): its name is free, and nobody opens it until it is restored. */
const trashSchema = z.object({
  /** Names the index entry; drawn anew each time. */
  id: uuid,
  /** `mirroring`: a replica whose primary gave up mirroring. */
  source: z.enum(['user', 'mirroring']),
  deletedAtMs: z.number(),
  /** Until then it is removed only by force. */
  deferredUntilMs: z.number(),
  /** It is there for its clones' sake (`rbd_move_parent_to_trash_on_remove`), and is removed with the last of them (lineage.ts). */
  forClones: z.boolean().optional(),
  /** The global id that it was a replica under, of a primary that may be mirrored again (lib/mirror/replica/kept-replica.ts). */
  replicaOf: uuid.optional(),
});

/** An advisory lock's holder: the id that it chose, its name (`client.…`), and where it says that it is. */
const lockerSchema = z.object({ id: z.string(), locker: z.string(), address: z.string(), sinceMs: z.number() });
export type Locker = z.infer<typeof lockerSchema>;

export const headerSchema = z.object({
  version: z.literal(1),
  imageId,
  pool: z.string(),
  namespace: z.string(),
  name: z.string(),
  sizeBytes: count,
  /** Bytes of one RBD object: a power of two from 4 KiB to 32 MiB. A leaf of the map covers one. */
  objectBytes: count,
  features: z.array(z.string()),
  /** A recorded name and no more: data is where the header is (docs/decisions/0012-a-data-pool-is-a-name.md). */
  dataPool: z.string().optional(),
  createdAtMs: z.number(),
  modifiedAtMs: z.number(),
  root: rootSchema.nullable(),
  snapshots: z.array(snapshotSchema),
  nextSnapshotId: count,
  /** How many user snapshots there may be (snapshot-limit.ts); absent: as many as an image can have. */
  snapshotLimit: count.optional(),
  meta: z.record(z.string(), z.string()),
  /** Advisory, and this site's own (locks.ts). With a tag, shared. */
  locks: z.object({ tag: z.string().optional(), lockers: z.array(lockerSchema).min(1) }).optional(),
  mirror: mirrorSchema.optional(),
  formerly: z.array(formerSchema).max(formerlyMax).optional(),
  parent: parentSchema.optional(),
  children: z.array(childSchema).optional(),
  journal: journalSchema.optional(),
  /** Set while the image is being removed: its name is gone already, its packs are going. */
  removing: z.boolean().optional(),
  trash: trashSchema.optional(),
  collect: collectSchema.optional(),
  /** Rises with every collection that deleted something; a writer that saw another number checks its packs again. */
  collectGeneration: count,
});
export type Header = z.infer<typeof headerSchema>;

/** 4 PiB: far below where offsets would lose precision. */
export const sizeBytesMax = 2 ** 52;

export const objectBytesDefault = 4 * 1024 * 1024;

export const isMirrorSnapshot = (snapshot: Snapshot): snapshot is MirrorSnapshot =>
  snapshot.namespace.type === 'mirror';
export const mirrorSnapshots = (header: Pick<Header, 'snapshots'>): MirrorSnapshot[] =>
  header.snapshots.filter(isMirrorSnapshot);
export const userSnapshots = (header: Header): Snapshot[] =>
  header.snapshots.filter((s) => s.namespace.type === 'user');

/** Those that users are shown. Points of a journal are mirror snapshots that nobody took, and rbd has none there. */
export const shownSnapshots = (header: Header): Snapshot[] =>
  header.mirror?.mode === 'journal' ? header.snapshots.filter((s) => !isMirrorSnapshot(s)) : header.snapshots;

export const trashSnapshots = (header: Header): Snapshot[] =>
  header.snapshots.filter((s) => s.namespace.type === 'trash');

/** Where packs of an image may be besides its own. */
export type PacksElsewhere = { parent?: Pick<Parent, 'packsIn'> | undefined };

/** Images whose packs hold what this one reaches: itself first. */
export const packSources = ({ imageId: own, parent }: Pick<Header, 'imageId'> & PacksElsewhere): string[] => [
  own,
  ...(parent?.packsIn ?? []),
];

export const sameRoot = (a: Root | null, b: Root | null): boolean => a?.pack === b?.pack && a?.entry === b?.entry;

/** What the header reaches, and of a clone what its parent's snapshot reaches: all of it can be read. */
export const readableRoots = (header: Header): Root[] =>
  header.parent?.root ? [...reachableRoots(header), header.parent.root] : reachableRoots(header);

/**
 * Every root that the header reaches: head, snapshots, user snapshots kept alive by a mirror snapshot, and points of mirroring that was
 * given up.
 */
export function reachableRoots(header: Header): Root[] {
  const roots = new Map<string, Root>();
  const add = (root: Root | null): void => {
    if (root) roots.set(`${root.pack}/${root.entry}`, root);
  };
  add(header.root);
  for (const snapshot of header.snapshots) {
    add(snapshot.root);
    if (isMirrorSnapshot(snapshot)) for (const user of snapshot.namespace.image.snapshots) add(user.root);
  }
  for (const former of header.formerly ?? []) for (const root of former.roots) add(root);
  return [...roots.values()];
}
