// Owns the copying of one piece: its packs from the primary into this bucket, then its marker. Bounded by the piece.
//
// An `apply` whose sync is over does nothing, and one that is repeated finds its packs there. One that was late enough to pass
// the check and is overtaken by the sync's end writes packs that the image reaches already, and a marker that nobody reads.

import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import type { Sync } from '../../image/header.ts';
import { pieceName, sawCopied, writeMarker } from './checkpoints.ts';
import { completeSync } from './complete.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Message, Outcome, PackWant } from '../messages.ts';
import { transferPacks } from './pack-transfer.ts';
import { connectPeer } from '../peers/peer-state.ts';
import type { Peer } from '../peer-protocol.ts';
import { noteFailure } from './problem.ts';
import { isUnreachable } from '../peers/reachable.ts';
import { recent, remember } from '../recent.ts';

type Apply = Extract<Message, { type: 'apply' }>;
const done: Outcome = { kind: 'ack' };

export async function handleApply(deps: MirrorDeps, message: Apply): Promise<Outcome> {
  const { pool, imageId, syncId, step, piece } = message;
  const sync = await currentSync(deps, imageId, syncId);
  const connection = sync && (await connectPeer(deps, pool, sync.peerUuid));
  if (!connection) return done;
  try {
    await copyPiece(deps, { peer: connection.peer, sync, imageId, step, piece, packs: message.packs });
  } catch (error) {
    return failed(deps, message, sync.peerUuid, error);
  }
  const seen = sawCopied(deps, syncId, pieceName(step, piece));
  if (seen !== 'all' && !message.last) return done;
  // Where the others are seen being copied here, there is no need to look: the last of them completes.
  const isWaiting = seen === 'some' || (await completeSync(deps, pool, imageId, syncId)).state === 'waiting';
  if (isWaiting)
    await deps.queue.send([{ type: 'complete', pool, imageId, syncId }], { delayMs: deps.limits.completeDelayMs });
  return done;
}

/** The sync that a piece belongs to, if it is still going on: as this process saw it a moment ago, or as the header says. */
const currentSync = (deps: MirrorDeps, imageId: string, syncId: string): Promise<Sync | undefined> =>
  recent(deps, syncKey(syncId), async () => {
    const sync = (await readHeader(deps, imageId))?.value.mirror?.sync;
    return sync?.syncId === syncId ? sync : undefined;
  });

const syncKey = (syncId: string): string => `sync ${syncId}`;

/** Just recorded by this process: its pieces need not look at the header. */
export const rememberSync = (deps: MirrorDeps, sync: Sync): void => remember(deps, syncKey(sync.syncId), sync);

export type PieceCopy = {
  peer: Peer;
  sync: Pick<Sync, 'syncId' | 'primaryImageId'>;
  imageId: string;
  step: number;
  piece: number;
  packs: readonly PackWant[];
};

/** Packs first, marker last. */
export async function copyPiece(
  deps: MirrorDeps,
  { peer, sync, imageId, step, piece, packs }: PieceCopy,
): Promise<void> {
  await transferPacks(deps, { peer, primaryImageId: sync.primaryImageId, imageId }, packs);
  await writeMarker(deps, imageId, sync.syncId, step, piece);
}

/** A pack that is gone at the primary: the image's next sync decides anew. A peer that is away: the copy stands still, and goes on later. */
async function failed(deps: MirrorDeps, message: Apply, peerUuid: string, error: unknown): Promise<Outcome> {
  const { pool, imageId, syncId } = message;
  const stored = await readHeader(deps, imageId);
  const mirror = stored?.value.mirror;
  if (!stored || mirror?.sync?.syncId !== syncId) return done; // of a sync that is over
  const sync: Message = { type: 'sync', pool, peerUuid, globalId: mirror.globalId };
  if (isUnreachable(error)) {
    await lookAgain(deps, syncId, sync);
    return done;
  }
  if (!(error instanceof FarsideError) || error.code !== 'ESTALE') {
    await noteFailure(deps, stored, error);
    throw error;
  }
  await deps.queue.send([sync], { delayMs: deps.limits.completeDelayMs });
  return done;
}

/** Once the copy counts as standing still. One message for all pieces that fail together. */
async function lookAgain(deps: MirrorDeps, syncId: string, sync: Message): Promise<void> {
  const delayMs = deps.limits.standstillMs + deps.limits.completeDelayMs;
  await recent({ ...deps, limits: { ...deps.limits, cacheMs: delayMs } }, `stalled ${syncId}`, async () => {
    await deps.queue.send([sync], { delayMs });
    return true;
  });
}
