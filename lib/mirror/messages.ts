// Owns the messages of a site's queue. A message is a wake-up, never truth: it names work by deterministic ids, handling
// it twice, late or out of order leaves the same state as once, and every tick finds the same work without it.

import { z } from 'zod';

import { rootSchema, slotSchema } from '../image/header.ts';

const count = z.int().min(0);

/** A list of wanted entries of one pack: `all`, or ascending, inclusive ranges. */
export const wantedEntriesSchema = z.union([z.literal('all'), z.array(z.tuple([count, count])).min(1)]);

/** One pack that a piece copies. `packBytes` and `entryCount` are of the complete pack; `payloadBytes` estimates what is wanted. */
export const packWantSchema = z.object({
  pack: z.string().regex(/^[0-9a-f]{32}$/),
  entryCount: count,
  packBytes: count,
  payloadBytes: count,
  entries: wantedEntriesSchema,
  /** Where the primary may have it: it was born as a segment of a journal. */
  slot: slotSchema.optional(),
});
export type PackWant = z.infer<typeof packWantSchema>;

/** One bounded unit of copying: at most `pieceBytesMax` of payload and `piecePacksMax` packs. */
export const pieceSchema = z.object({ bytes: count, packs: z.array(packWantSchema) });
export type Piece = z.infer<typeof pieceSchema>;

/**
 * One step of a delta: what a bounded walk found. `next` is the image offset where the following step begins; null: this was
 * the last. `wanted` and `held` are the roots of the whole delta, so that any step follows from the one before it. `piecesSoFar`
 * and `bytesSoFar` count every step up to and including this one: the last manifest alone tells how much there is to copy.
 */
export const manifestSchema = z.object({
  version: z.literal(1),
  deltaId: z.string().max(64),
  step: count,
  wanted: z.array(rootSchema),
  held: z.array(rootSchema),
  pieces: z.array(pieceSchema),
  piecesSoFar: count,
  bytesSoFar: count,
  next: z.number().nullable(),
});
export type Manifest = z.infer<typeof manifestSchema>;

export const messageSchema = z.discriminatedUnion('type', [
  /** Primary: take the mirror snapshot of one schedule slot. */
  z.object({ type: z.literal('snapshot'), pool: z.string(), imageId: z.string(), slotMs: z.number() }),
  /** Primary: cut step `step` of a delta that a peer has begun to fetch, ahead of its asking. */
  z.object({
    type: z.literal('delta'),
    pool: z.string(),
    imageId: z.string(),
    targetSnapId: count,
    deltaId: z.string(),
    step: count,
  }),
  /** Replica: compare with the primary and do what is due. `continues`: the invocation before it got as far as this step. */
  z.object({
    type: z.literal('sync'),
    pool: z.string(),
    peerUuid: z.string(),
    globalId: z.string(),
    continues: z.object({ syncId: z.string(), step: count }).optional(),
  }),
  /** Replica: copy one piece. `last`: after it, completion is worth checking. */
  z.object({
    type: z.literal('apply'),
    pool: z.string(),
    imageId: z.string(),
    syncId: z.string(),
    step: count,
    piece: count,
    packs: pieceSchema.shape.packs,
    last: z.boolean(),
  }),
  /** Replica: complete the sync if every marker is there. */
  z.object({ type: z.literal('complete'), pool: z.string(), imageId: z.string(), syncId: z.string() }),
  /** Replica: read the peer's change feed from the cursor. */
  z.object({ type: z.literal('poll'), pool: z.string(), peerUuid: z.string() }),
  /** Any site: one bounded step of garbage collection. */
  z.object({ type: z.literal('collect'), imageId: z.string(), run: z.string(), step: count }),
  /** Replica: one step of flattening a clone whose primary was flattened. */
  z.object({ type: z.literal('flatten'), imageId: z.string() }),
  /** Any site: a bounded part of what schedules have removed from a pool's trash by `dueMs`; from `after` on, as a listing says. */
  z.object({ type: z.literal('purge'), pool: z.string(), dueMs: z.number(), after: z.string().optional() }),
  /** Any site: in mode `pool`, mirror an image for its features; without `image`, go on looking for those that are to be. */
  z.object({
    type: z.literal('by-feature'),
    pool: z.string(),
    namespace: z.string(),
    image: z.string().optional(),
  }),
  /** Any site: one bounded step of deleting a removed image's objects. */
  z.object({ type: z.literal('remove'), imageId: z.string() }),
]);
export type Message = z.infer<typeof messageSchema>;

/** What a site does with a message after handling it. `why` it was not handled goes into the record of a dead letter. */
export type Outcome = { kind: 'ack' } | { kind: 'retry'; delayMs: number; why?: string };

/** The queue as the pipeline sees it. At least once, unordered, may lose everything on a restart. */
export interface Queue {
  /**
   * Enqueues; each message is handled some time after `delayMs`, of which more than 15 minutes count as 15. What has to wait
   * longer is in the bucket, as pending or unfinished work, where every tick looks for it.
   */
  send(messages: readonly Message[], options?: { delayMs?: number }): Promise<void>;
}
