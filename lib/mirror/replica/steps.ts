// Owns the going on of a recorded sync: its manifests are fetched and stored here, its pieces sent as `apply` messages. An
// invocation takes a bounded number of steps, then sends itself on.
//
// Whoever comes next goes on from the checkpoints. A copy that moves is left alone; one whose newest checkpoint is older than
// `standstillMs` has lost its messages: the first missing pieces are copied on the spot and the others sent again, so that
// ticks alone finish it (I4).
//
//   sync, going on                            sync (repeated message)
//   fetches step 5                            fetches step 5
//   stores step 5
//                                             create step 5: exists, so it leaves the rest to the other
//   sends the pieces of step 5
// If the first dies before it sends them, the copy stands still and they are sent again.

import type { Stored } from '../../bucket/document.ts';
import { updateHeader } from '../../image/access.ts';
import type { Header, Sync } from '../../image/header.ts';
import { sendAll } from '../peers/announce.ts';
import { copyPiece } from './apply.ts';
import { listCheckpoints, missingPieces, readCheckpoint, sawPieceCount, storeCheckpoint } from './checkpoints.ts';
import type { Checkpoint, Checkpoints } from './checkpoints.ts';
import { completeSync } from './complete.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Manifest, Message } from '../messages.ts';
import type { Connection } from '../peers/peer-state.ts';

/**
 * `settled`: nothing is left to do. `working`: messages are under way, or another invocation is at work. `again`: something
 * changed meanwhile, decide anew. `later`: something else must end first. `following`: in step with a journal that goes on.
 */
export type Progress = 'settled' | 'working' | 'again' | 'later' | 'following';

export type Copying = { connection: Connection; globalId: string; stored: Stored<Header> };
export type Running = { copying: Copying; sync: Sync };

/** Stores a manifest, sends its pieces, asks for the next, and so on for `manifestsMax` steps. */
export async function takeSteps(deps: MirrorDeps, running: Running, first: Checkpoint): Promise<Progress> {
  const { imageId } = running.copying.stored.value;
  let checkpoint = first;
  for (let taken = 1; ; taken++) {
    const { manifest } = checkpoint;
    if (!(await storeCheckpoint(deps, imageId, running.sync.syncId, checkpoint))) return 'working';
    await sendPieces(deps, running, manifest, [...manifest.pieces.keys()]);
    if (manifest.next === null) return finishSending(deps, running, manifest);
    if (taken >= deps.limits.manifestsMax) return sendOn(deps, running, manifest.step + 1);
    const next = await nextManifest(running, manifest);
    if (!next) return abandon(deps, running);
    checkpoint = { manifest: next };
  }
}

async function nextManifest({ copying, sync }: Running, { deltaId, step }: Manifest): Promise<Manifest | undefined> {
  const request = { targetSnapId: sync.targetSnapId, step: step + 1, deltaId };
  const answer = await copying.connection.peer.delta(copying.globalId, request);
  return answer.status === 'found' ? answer.manifest : undefined;
}

async function sendPieces(
  deps: MirrorDeps,
  { copying, sync }: Running,
  manifest: Manifest,
  pieces: readonly number[],
): Promise<void> {
  const { pool, imageId } = copying.stored.value;
  const lastPiece = manifest.next === null ? manifest.pieces.length - 1 : -1;
  const messages = pieces.map((piece): Message => {
    const { packs } = manifest.pieces[piece]!;
    return {
      type: 'apply',
      pool,
      imageId,
      syncId: sync.syncId,
      step: manifest.step,
      piece,
      packs,
      last: piece === lastPiece,
    };
  });
  await sendAll(deps, messages);
}

/** The pieces may all be copied by now, or the last step may have none. */
async function finishSending(deps: MirrorDeps, { copying, sync }: Running, manifest: Manifest): Promise<Progress> {
  const { pool, imageId } = copying.stored.value;
  const isCopied = sawPieceCount(deps, sync.syncId, manifest.piecesSoFar);
  if (isCopied || manifest.pieces.length === 0)
    await deps.queue.send([{ type: 'complete', pool, imageId, syncId: sync.syncId }]);
  return 'working';
}

async function sendOn(deps: MirrorDeps, { copying, sync }: Running, step: number): Promise<Progress> {
  const { pool } = copying.stored.value;
  await deps.queue.send([
    {
      type: 'sync',
      pool,
      peerUuid: sync.peerUuid,
      globalId: copying.globalId,
      continues: { syncId: sync.syncId, step },
    },
  ]);
  return 'working';
}

/** The primary cannot cut this delta any more, or it was never begun. What was copied stays of use: it need not be stored again. */
export async function abandon(deps: MirrorDeps, { copying, sync }: Running): Promise<Progress> {
  const forget = (header: Header): Header | undefined => {
    if (header.mirror?.sync?.syncId !== sync.syncId) return undefined;
    const { sync: _, ...mirror } = header.mirror;
    return { ...header, mirror };
  };
  await updateHeader(deps, copying.stored.value.imageId, forget, { byMirroring: true });
  return 'again';
}

/** Goes on with the sync that the header records. `continues`: the invocation before got as far as that step. */
export async function continueCopy(
  deps: MirrorDeps,
  running: Running,
  continues?: { syncId: string; step: number },
): Promise<Progress> {
  const { copying, sync } = running;
  const { imageId } = copying.stored.value;
  if (continues?.syncId === sync.syncId) {
    const before = await readCheckpoint(deps, imageId, sync.syncId, continues.step - 1);
    if (before) return goOn(deps, running, before.manifest);
  }
  const listed = await listCheckpoints(deps, imageId, sync.syncId);
  const newestAtMs = Math.max(listed.newestAtMs, sync.startedAtMs);
  if (deps.clock.nowMs() - newestAtMs < deps.limits.standstillMs) return 'working';
  const last = await readCheckpoint(deps, imageId, sync.syncId, listed.stepCount - 1);
  if (!last) return abandon(deps, running);
  await resend(deps, running, listed);
  return goOn(deps, running, last.manifest);
}

async function goOn(deps: MirrorDeps, running: Running, before: Manifest): Promise<Progress> {
  const { stored } = running.copying;
  if (before.next === null) {
    const done = await completeSync(deps, stored.value.pool, stored.value.imageId, running.sync.syncId);
    if (done.state === 'done') return done.more ? 'again' : 'settled';
    return done.state === 'stale' ? 'again' : 'working';
  }
  const next = await nextManifest(running, before);
  return next ? takeSteps(deps, running, { manifest: next }) : abandon(deps, running);
}

/** Copies missing pieces itself up to `inlineBytesMax`, one after another, and sends the following ones, `resendPiecesMax` in all. */
async function resend(deps: MirrorDeps, running: Running, listed: Checkpoints): Promise<void> {
  const { copying, sync } = running;
  const { imageId } = copying.stored.value;
  const left = { bytes: deps.limits.inlineBytesMax, pieces: deps.limits.resendPiecesMax };
  for (let step = 0; step < listed.stepCount && left.pieces > 0; step++) {
    const manifest = (await readCheckpoint(deps, imageId, sync.syncId, step))?.manifest;
    if (!manifest) return;
    const { here, sent } = share(manifest, missingPieces(manifest, listed.copied), left);
    await sendPieces(deps, running, manifest, sent);
    for (const piece of here) {
      await copyPiece(deps, {
        peer: copying.connection.peer,
        sync,
        imageId,
        step,
        piece,
        packs: manifest.pieces[piece]!.packs,
      });
    }
  }
}

/** At least one piece is copied here, however large. */
function share(
  manifest: Manifest,
  missing: readonly number[],
  left: { bytes: number; pieces: number },
): { here: number[]; sent: number[] } {
  const taken = missing.slice(0, left.pieces);
  left.pieces -= taken.length;
  const here = taken.filter((piece) => {
    const isHere = left.bytes > 0;
    if (isHere) left.bytes -= manifest.pieces[piece]!.bytes;
    return isHere;
  });
  return { here, sent: taken.slice(here.length) };
}
