// Owns what two sites say to each other: the schemas, and `Peer`, one site's view of the other. The transport (HTTP in
// lib/site, a direct call in tests) carries these shapes and nothing else; `endpoint.ts` is the other end.
//
// A peer reads the states, manifests and packs of mirrored images of one pool, and writes only status, acknowledgements and
// wake-ups. What arrives is checked against these schemas on both sides.

import { z } from 'zod';

import type { ByteRange } from '../bucket/driver.ts';
import {
  formerlyMax,
  formerSchema,
  journalPositionSchema,
  mirrorNamespaceSchema,
  rootSchema,
  slotSchema,
  snapshotSchema,
} from '../image/header.ts';
import { objectBytesMax, objectBytesMin } from '../image/images.ts';
import { manifestSchema, type Manifest } from './messages.ts';
import type { PeerRecord } from './pool.ts';
import { siteUrlFault } from './site-url.ts';
import { imageStatusStates } from './copy-status.ts';

const count = z.int().min(0);
const id = z.string().min(1).max(64);
/** Becomes a part of keys, and a name in the catalog and in lists of pending images. */
const globalId = z.string().regex(/^[0-9a-f-]{1,64}$/);
/** Names are checked again where they are used as keys. */
const name = z.string().max(255);

const lineBreakers = /[\p{Cc}\p{Zl}\p{Zp}]+/gu;
/** What another site says may be printed, on a terminal or into a log: without what would break the line, or more. */
export const oneLine = (text: string): string => text.replaceAll(lineBreakers, ' ');
const siteName = name.refine((text) => oneLine(text) === text, 'must be one line');

/** A mirror snapshot with its image state: all that a replica copies besides data. */
export const peerSnapshotSchema = snapshotSchema.extend({ namespace: mirrorNamespaceSchema });

/**
 * One image as its site describes it to a peer.
 * - `present`: mirroring is enabled there. `peerUuid`: how that site names us in its snapshots' peer sets.
 * - `removed`: a tombstone says that mirroring of this global id was given up on purpose, by the primary `mirrorUuid`. Only
 *   this deletes a replica. `stays`: the image lives on there, and may be mirrored again.
 * - `absent`: nothing is known. A lost bucket must look like this and delete nothing.
 */
export const peerImageSchema = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('present'),
    imageId: z.string().regex(/^[0-9a-f]{24}$/),
    namespace: name,
    name,
    mode: z.enum(['journal', 'snapshot']),
    state: z.enum(['enabled', 'disabling', 'creating']),
    objectBytes: z
      .int()
      .refine((bytes) => Number.isInteger(Math.log2(bytes)) && bytes >= objectBytesMin && bytes <= objectBytesMax),
    createdAtMs: z.number(),
    mirrorUuid: id,
    peerUuid: id,
    snapshots: z.array(peerSnapshotSchema),
    /** Of an image that is mirrored by its journal, in use there or followed: what is folded there. */
    position: journalPositionSchema.optional(),
    /** The asking peer gets nothing more until it is resynced. */
    disconnected: z.boolean().optional(),
    /** Of a clone: its parent there, and how that is mirrored. */
    parent: z
      .object({ imageId: z.string().regex(/^[0-9a-f]{24}$/), pool: name, name, globalId: id.optional() })
      .optional(),
    /** What it was mirrored as before, and points of that which it still has whole. */
    formerly: z
      .array(formerSchema.omit({ untilMs: true }))
      .max(formerlyMax)
      .optional(),
  }),
  z.object({ status: z.literal('removed'), mirrorUuid: id.optional(), stays: z.boolean().optional() }),
  z.object({ status: z.literal('absent') }),
]);
export type PeerImage = z.infer<typeof peerImageSchema>;
export type PresentImage = Extract<PeerImage, { status: 'present' }>;

/**
 * Something changed: the newest point at that time, `snapId` of the primary `mirrorUuid`; both absent when mirroring of the image
 * was given up, and when its journal went on: the reader looks.
 */
export const feedRecordSchema = z.object({ globalId: id, snapId: count.optional(), mirrorUuid: id.optional() });
export type FeedRecord = z.infer<typeof feedRecordSchema>;
/** `next`: the cursor to read on from. `more`: the page is full, read on at once. */
export const feedPageSchema = z.object({ records: z.array(feedRecordSchema), next: count, more: z.boolean() });
export type FeedPage = z.infer<typeof feedPageSchema>;

/** Every image that may be mirrored from there. `feedNext` was the feed's end before the catalog was read. */
export const peerCatalogSchema = z.object({ globalIds: z.array(globalId), feedNext: count });
export type PeerCatalog = z.infer<typeof peerCatalogSchema>;

/**
 * Step 0 also claims the target (retention.ts): `linkSnapId` is the snapshot there that the replica stands at, `held` the
 * roots that it has whole. Later steps name the delta by the `deltaId` that step 0 answered.
 */
export const deltaRequestSchema = z.object({
  targetSnapId: count,
  step: count,
  linkSnapId: count.optional(),
  deltaId: z.string().max(64).optional(),
  held: z.array(rootSchema).max(10_000).optional(),
  /** The replica begins anew: it is connected again. */
  resync: z.boolean().optional(),
});
export type DeltaRequest = z.infer<typeof deltaRequestSchema>;
/** `gone`: the snapshot or the delta is not there (any more); begin again with a newer target. */
export const deltaAnswerSchema = z.discriminatedUnion('status', [
  z.object({ status: z.literal('found'), manifest: manifestSchema }),
  z.object({ status: z.literal('gone') }),
]);
export type DeltaAnswer = { status: 'found'; manifest: Manifest } | { status: 'gone' };

/** Where a pack may lie besides among the packs: it was born as a segment of a journal. */
export type WantedSlot = z.infer<typeof slotSchema>;
export type PackOptions = {
  range?: ByteRange | undefined;
  ifMatch?: string | undefined;
  slot?: WantedSlot | undefined;
};
/** `objectBytes`: of the whole stored copy. `changed`: `ifMatch` does not hold; the copy was shrunk. */
/** `release`: to be called when `body` is not needed any more, whose memory may then hold another. */
export type PackAnswer =
  | { status: 'found'; body: Uint8Array; etag: string; objectBytes: number; release?: () => void }
  | { status: 'absent' }
  | { status: 'changed' };

/** Of a whole pack, for one who passes it on: a body that is a stream must be read to its end or cancelled. */
export type PackStream = {
  status: 'found';
  body: Uint8Array | ReadableStream<Uint8Array<ArrayBuffer>>;
  etag: string;
  objectBytes: number;
};

/** Ascending, inclusive ranges of entry numbers, as many as an `apply` message may hold. */
export const packEntriesSchema = z.object({
  entries: z
    .array(z.tuple([count, count]))
    .min(1)
    .max(10_000),
  slot: slotSchema.optional(),
});
export type PackEntries = z.infer<typeof packEntriesSchema>;

const statusState = z.enum(imageStatusStates);

/** Sites behind a replica that one report tells of. */
export const beyondMax = 16;
export const beyondDescriptionMax = 1024;
/** In a chain: how the copy of a site stands that the replica feeds. Its name, its identity and that are all that is told of it. */
export const statusBeyondSchema = z.object({
  siteName: name,
  mirrorUuid: id,
  state: statusState,
  description: z.string().max(beyondDescriptionMax),
  updatedAtMs: z.number(),
});
export type StatusBeyond = z.infer<typeof statusBeyondSchema>;

/** What a replica tells its primary about one image; Ceph's image status. */
export const peerStatusSchema = z.object({
  state: statusState,
  description: z.string().max(4096),
  updatedAtMs: z.number(),
  /** In journal mode: up to where its copy is. Ceph's commit position of the client. */
  position: journalPositionSchema.optional(),
  /** In journal mode, where that is in no epoch: the newest point that it has. */
  point: z.object({ mirrorUuid: id, snapId: count }).optional(),
  beyond: z.array(statusBeyondSchema).max(beyondMax).optional(),
});
export type PeerStatus = z.infer<typeof peerStatusSchema>;

/** `synced`: the replica is complete at this snapshot; older ones may forget us, and the delta's manifests may go. */
export const ackSchema = z.object({
  status: peerStatusSchema.optional(),
  synced: z.object({ snapId: count, deltaId: z.string().max(64).optional(), steps: count }).optional(),
});
export type Ack = z.infer<typeof ackSchema>;

export const wakeSchema = z.object({ globalIds: z.array(globalId).max(1000) });

/** When a site that the sender feeds was last heard of, as it goes on hearing of it. */
const heardSchema = z.object({ mirrorUuid: id, agoMs: z.number().min(0) });
/** `cursor`: how far the sender has read the receiver's feed. */
export const heartbeatSchema = z.object({
  siteName: name,
  cursor: count,
  beyond: z.array(heardSchema).max(beyondMax).optional(),
});
export type Heartbeat = z.infer<typeof heartbeatSchema>;

/**
 * Sent with the bootstrap key. `direction` and `key` are the sender's: how it will use the receiver, and how the receiver may
 * call back. `oneSided`: the receiver's own use of the sender stays as it is. `additional`: the receiver may have other peers
 * that it receives from.
 */
export const registerSchema = z.object({
  fsid: id,
  siteName: siteName.min(1),
  mirrorUuid: id,
  url: z.string().refine((url) => siteUrlFault(url) === undefined, 'must be https, or http on this machine'),
  direction: z.enum(['rx-only', 'rx-tx']),
  key: z.string().min(32).max(256),
  oneSided: z.boolean().optional(),
  additional: z.boolean().optional(),
});
export type RegisterRequest = z.infer<typeof registerSchema>;
/** `key`: how the importer calls from now on. `peerUuid`: the receiver's record of the importer. */
export const registerAnswerSchema = z.object({
  fsid: id,
  siteName,
  mirrorUuid: id,
  mode: z.enum(['image', 'pool', 'init-only']),
  peerUuid: id,
  key: z.string().min(32).max(256),
});
export type RegisterAnswer = z.infer<typeof registerAnswerSchema>;

/**
 * The other site, for one pool. Every call may fail with a FarsideError; ECONNREFUSED, EHOSTUNREACH and ETIMEDOUT with retry
 * `later` mean that it cannot be reached, EACCES that it no longer knows us. All calls are idempotent except `register`,
 * which replaces an earlier registration of the same site.
 */
export interface Peer {
  image(globalId: string): Promise<PeerImage>;
  catalog(): Promise<PeerCatalog>;
  feed(from: number): Promise<FeedPage>;
  delta(globalId: string, request: DeltaRequest): Promise<DeltaAnswer>;
  pack(imageId: string, packId: string, options?: PackOptions): Promise<PackAnswer>;
  /** A copy of the pack with these entries only (they must all be there: EBADMSG), made for this answer: its tag means nothing. A connection may lack it. */
  packEntries?(imageId: string, packId: string, wanted: PackEntries): Promise<PackAnswer>;
  /** A slot of an image's journal, as it is stored there: a segment or a fence. `absent`: not written yet, or collected. */
  segment(imageId: string, epoch: string, seq: number): Promise<PackAnswer>;
  /** The caller cannot go on by the journal: a point is taken, if the newest does not say everything. */
  requestPoint(globalId: string): Promise<void>;
  ack(globalId: string, ack: Ack): Promise<void>;
  wake(globalIds: readonly string[]): Promise<void>;
  heartbeat(heartbeat: Heartbeat): Promise<void>;
  /** Only with a bootstrap key. */
  register(request: RegisterRequest): Promise<RegisterAnswer>;
  /** Takes back a registration; with `only`, if the other side merely sends to us. */
  unregister(only?: 'tx-only'): Promise<void>;
}

/** Makes the other end of a peer record callable. Unseals the record's key; does no request of its own. */
export type PeerConnector = (pool: string, peer: Pick<PeerRecord, 'url' | 'sealedKey'>) => Promise<Peer>;
