// Owns what an unfinished sync leaves in the replica's bucket: `syncs/{syncId}/manifests/{step}`, what there is to copy, and
// `syncs/{syncId}/markers/{step}-{piece}`, what was copied. All write-once; deleted when the sync is complete.
//
// - A sync id is drawn anew for every beginning. Were it derived from the roots, a late `apply` could leave a marker behind
//   that a later sync between the same roots would take for its own, after collection removed the packs (I1).
// - A marker is written after its packs. So when there are as many markers as the last manifest counts pieces, all is there.
// - The first manifest also holds the plan: completing needs no peer.
//
// What this process saw happen is remembered as well, only so that the last piece knows at once that it is the last.

import { z } from 'zod';

import type { Bucket } from '../../bucket/bucket.ts';
import { keyText, parseKey, prefixes } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import type { DocumentDeps } from '../limits.ts';
import { manifestSchema } from '../messages.ts';
import type { Manifest } from '../messages.ts';
import { peerSnapshotSchema } from '../peer-protocol.ts';

/** What completing a sync does to the header, decided when it began; see replica-header.ts. */
const planSchema = z.object({
  target: peerSnapshotSchema,
  demoted: z.boolean(),
  resync: z.boolean(),
  /** Our record of the peer, and its pool's identity. */
  peerUuid: z.string(),
  primaryMirrorUuid: z.string(),
  /** Local mirror snapshots that are not on the primary's line of history, and whether the head holds what it lacks. */
  lostSnapIds: z.array(z.number()),
  keepHead: z.boolean(),
});
export type Plan = z.infer<typeof planSchema>;

const checkpointSchema = z.object({ manifest: manifestSchema, plan: planSchema.optional() });
export type Checkpoint = z.infer<typeof checkpointSchema>;

export type Checkpoints = {
  /** Every object of the sync. */
  keys: string[];
  /** Number of manifests: steps 0 to `stepCount` - 1 are there. */
  stepCount: number;
  /** `step-piece` of every copied piece. */
  copied: Set<string>;
  /** When the newest of them was written; 0: there is none. */
  newestAtMs: number;
};

const manifestKey = (imageId: string, syncId: string, step: number): string =>
  keyText({ kind: 'sync-manifest', imageId, syncId, step });
export const pieceName = (step: number, piece: number): string => `${step}-${piece}`;

/** False when it is there already: another invocation is at work. */
export async function storeCheckpoint(
  deps: DocumentDeps,
  imageId: string,
  syncId: string,
  checkpoint: Checkpoint,
): Promise<boolean> {
  const body = new TextEncoder().encode(JSON.stringify(checkpoint));
  return (await deps.bucket.create(manifestKey(imageId, syncId, checkpoint.manifest.step), body)).created;
}

export async function readCheckpoint(
  deps: DocumentDeps,
  imageId: string,
  syncId: string,
  step: number,
): Promise<Checkpoint | undefined> {
  if (step < 0) return undefined;
  const key = manifestKey(imageId, syncId, step);
  const found = await deps.bucket.get(key);
  if (found.status !== 'found') return undefined;
  try {
    return checkpointSchema.parse(JSON.parse(new TextDecoder().decode(found.body)));
  } catch (cause) {
    throw new FarsideError('EBADMSG', `malformed checkpoint '${key}'`, { cause });
  }
}

/** After the packs of the piece, never before. */
export async function writeMarker(
  deps: DocumentDeps,
  imageId: string,
  syncId: string,
  step: number,
  piece: number,
): Promise<void> {
  const body = new TextEncoder().encode(JSON.stringify({ copiedAtMs: deps.clock.nowMs() }));
  await deps.bucket.create(keyText({ kind: 'sync-marker', imageId, syncId, step, piece }), body);
}

/** One LIST per thousand pieces. */
export async function listCheckpoints(deps: DocumentDeps, imageId: string, syncId: string): Promise<Checkpoints> {
  const listed: Checkpoints = { keys: [], stepCount: 0, copied: new Set(), newestAtMs: 0 };
  for await (const object of deps.bucket.listAll(prefixes.sync(imageId, syncId))) {
    const key = parseKey(object.key);
    listed.keys.push(object.key);
    listed.newestAtMs = Math.max(listed.newestAtMs, object.uploadedAtMs);
    if (key?.kind === 'sync-manifest') listed.stepCount = Math.max(listed.stepCount, key.step + 1);
    if (key?.kind === 'sync-marker') listed.copied.add(pieceName(key.step, key.piece));
  }
  return listed;
}

/** Pieces of a manifest that have no marker. */
export const missingPieces = (manifest: Manifest, copied: ReadonlySet<string>): number[] =>
  manifest.pieces.flatMap((_, piece) => (copied.has(pieceName(manifest.step, piece)) ? [] : [piece]));

type Seen = { copied: Set<string>; pieceCount: number };
const seenMax = 64;
const memories = new WeakMap<Bucket, Map<string, Seen>>();

function seenOf(deps: DocumentDeps, syncId: string): Seen {
  let memory = memories.get(deps.bucket);
  if (!memory) memories.set(deps.bucket, (memory = new Map()));
  const seen = memory.get(syncId) ?? { copied: new Set(), pieceCount: Infinity };
  memory.delete(syncId);
  memory.set(syncId, seen);
  if (memory.size > seenMax) memory.delete([...memory.keys()][0]!);
  return seen;
}

/** What this process has seen being copied: every piece, some of them, or too little to tell. */
export function sawCopied(deps: DocumentDeps, syncId: string, name: string): 'all' | 'some' | 'unknown' {
  const seen = seenOf(deps, syncId);
  seen.copied.add(name);
  if (seen.pieceCount === Infinity) return 'unknown';
  return seen.copied.size >= seen.pieceCount ? 'all' : 'some';
}

export function sawPieceCount(deps: DocumentDeps, syncId: string, pieceCount: number): boolean {
  const seen = seenOf(deps, syncId);
  seen.pieceCount = pieceCount;
  return seen.copied.size >= pieceCount;
}
