// Owns the beginning of a sync at the replica. There are two ways:
//
// - A small delta (one step, at most `inlineBytesMax`) is copied at once and completed by a single compare-and-swap. It is
//   safe as any writer is: the swap requires that nothing it was decided by has changed and no collection came between.
// - A larger one is recorded in the header, which holds collection off, and goes on by checkpoints and messages (steps.ts).
//
//   sync                                      collection at the replica
//   reads the header: no collection
//                                             compare-and-swap: collect C
//   records itself: refused (basis changed)
//   tries again later; or the other way round: collection sees the sync and does not begin
//
// Beginning to copy a snapshot tells the primary that it may let go of older ones (retention.ts `claimTarget`). If one of
// those is still being copied by another invocation, which then completes, this image would stand at a point that the primary
// has forgotten, and every later sync would take it for a split-brain. So a sync that makes the primary let go of something
// after our newest point is recorded first, however small it is:
//
//   sync to 5 (small)                         sync to 6 (primary has 5 and 6)
//   claims 5, copies
//                                             records itself: compare-and-swap
//                                             claims 6: the primary forgets 5
//   completes: refused (basis changed, and `attempt` keeps it changed when the sync to 6 is given up)
// A sync reads its own header before it asks the primary: one that sees no record of 6 has asked before 6 was claimed.

import { updateHeader } from '../../image/access.ts';
import { collectStep } from '../../image/collect/collect.ts';
import { foldTail } from '../../image/journal/fold.ts';
import type { Header, Sync } from '../../image/header.ts';
import { rememberSync } from './apply.ts';
import type { Plan } from './checkpoints.ts';
import { commitReplica, isUnchanged, tellOfCopy } from './complete.ts';
import type { MirrorDeps } from '../deps.ts';
import { follows } from './follow.ts';
import { takenAtMs } from '../roles/history.ts';
import type { Manifest } from '../messages.ts';
import { transferPacks } from './pack-transfer.ts';
import type { PresentImage } from '../peer-protocol.ts';
import { mirrorOf } from '../pool.ts';
import { heldRoots, linkOf, planOf } from './plan.ts';
import { isBeforeOurs } from './replica-journal.ts';
import { isFlattenDue } from './replica-parent.ts';
import { report } from './report.ts';
import type { SyncDecision } from '../roles/roles.ts';
import { journalOf, replayingStatus } from '../copy-status.ts';
import { abandon, takeSteps } from './steps.ts';
import type { Copying, Progress, Running } from './steps.ts';

export async function beginCopy(
  deps: MirrorDeps,
  copying: Copying,
  remote: PresentImage,
  decision: SyncDecision,
): Promise<Progress> {
  const { connection, globalId } = copying;
  // What is kept of a losing head is kept as a snapshot, and that is of a root.
  const stored = decision.resync ? await foldTail(deps, copying.stored) : copying.stored;
  const header = stored.value;
  if (header.collect) return waitForCollection(deps, header);
  // Folding may have read it anew: decided was about the one before.
  if (!isUnchanged(copying.stored.value, header)) return 'again';
  const mirrorUuid = mirrorOf(connection.pool, header.namespace)?.mirrorUuid ?? '';
  const plan = planOf(decision, { header, remote, mirrorUuid, peerUuid: connection.record.uuid });
  if (!plan) return 'again';
  if (isBeforeOurs(header, plan.target)) return askForPoint(copying);
  const startedAtMs = deps.clock.nowMs();
  const request = {
    targetSnapId: plan.target.id,
    step: 0,
    linkSnapId: linkOf(decision, header, remote),
    held: heldRoots(header, remote),
    ...((decision.resync || header.mirror?.state === 'creating') && { resync: true }),
  };
  const isBehind = remote.snapshots.some(({ id }) => id > plan.target.id);
  const begin = { plan, primaryImageId: remote.imageId, startedAtMs, isBehind };
  const whole = { ...copying, stored };
  const first = letsGo(remote, request) ? await record(deps, whole, begin) : undefined;
  if (first === 'again') return first;
  const answer = await connection.peer.delta(globalId, request);
  if (answer.status === 'gone') return first ? abandon(deps, first) : 'again';
  const { manifest } = answer;
  const isSmall = manifest.next === null && manifest.bytesSoFar <= deps.limits.inlineBytesMax;
  if (isSmall) return copyInline(deps, first?.copying ?? whole, { ...begin, manifest });
  const running = first ?? (await record(deps, whole, begin));
  if (running === 'again') return running;
  await reportBegin(deps, running, manifest.bytesSoFar);
  return takeSteps(deps, running, { manifest, plan });
}

/** A point of a journal whose slots, from that point on, may not all be here any more. */
async function askForPoint({ connection, globalId }: Copying): Promise<Progress> {
  await connection.peer.requestPoint(globalId);
  return 'later';
}

/** Whether the claim makes the primary forget a snapshot that another invocation may be copying here. */
function letsGo(
  remote: PresentImage,
  { targetSnapId, linkSnapId = -1 }: { targetSnapId: number; linkSnapId?: number | undefined },
): boolean {
  return remote.snapshots.some(
    ({ id, namespace }) => id > linkSnapId && id < targetSnapId && namespace.mirrorPeerUuids.includes(remote.peerUuid),
  );
}

/** A collection that died would hold every sync off for good, so one that takes long is finished here. */
async function waitForCollection(deps: MirrorDeps, { imageId, collect }: Header): Promise<Progress> {
  const { run, step, startedAtMs } = collect!;
  if (deps.clock.nowMs() - startedAtMs < deps.limits.standstillMs) return 'later';
  await collectStep(deps, { imageId, run, step });
  return 'again';
}

/** `isBehind`: newer points are to be copied after this one. */
type Begin = { plan: Plan; primaryImageId: string; startedAtMs: number; isBehind: boolean };

/** No checkpoints: if this dies, the next attempt copies the same few packs again. */
async function copyInline(
  deps: MirrorDeps,
  { connection, stored }: Copying,
  { plan, manifest, primaryImageId, startedAtMs, isBehind }: Begin & { manifest: Manifest },
): Promise<Progress> {
  const transfer = { peer: connection.peer, primaryImageId, imageId: stored.value.imageId };
  let bytes = 0;
  for (const piece of manifest.pieces) bytes += await transferPacks(deps, transfer, piece.packs);
  const isCurrent = (header: Header): boolean => isUnchanged(stored.value, header);
  const header = await commitReplica(deps, stored, { plan, isCurrent, bytes, startedAtMs });
  if (!header) return 'again';
  await tellOfCopy(deps, connection, header, plan, { deltaId: manifest.deltaId, steps: 1 });
  return isFlattenDue(header) || isBehind || follows(header, plan.target.namespace.position) ? 'again' : 'settled';
}

/** The record first: from here on collection leaves the packs alone, and no other sync completes. */
async function record(
  deps: MirrorDeps,
  copying: Copying,
  { plan, primaryImageId, startedAtMs }: Begin,
): Promise<Running | 'again'> {
  const { stored } = copying;
  const sync: Sync = {
    syncId: deps.random.uuid(),
    peerUuid: plan.peerUuid,
    primaryMirrorUuid: plan.primaryMirrorUuid,
    primaryImageId,
    targetSnapId: plan.target.id,
    targetCreatedAtMs: takenAtMs(plan.target),
    startedAtMs,
    resync: plan.resync,
  };
  const now = await updateHeader(
    deps,
    stored,
    (header) => (isUnchanged(stored.value, header) ? recorded(header, sync) : undefined),
    { byMirroring: true },
  );
  if (now.value.mirror?.sync?.syncId !== sync.syncId) return 'again';
  rememberSync(deps, sync);
  return { copying: { ...copying, stored: now }, sync };
}

function recorded(header: Header, sync: Sync): Header {
  const { problem: _, ...mirror } = header.mirror!;
  return { ...header, mirror: { ...mirror, sync, attempt: sync.syncId } };
}

async function reportBegin(deps: MirrorDeps, { copying, sync }: Running, bytesTotal: number): Promise<void> {
  const { connection, globalId, stored } = copying;
  const syncing = { snapshotMs: sync.targetCreatedAtMs, bytesDone: 0, bytesTotal, elapsedMs: 0 };
  const status = replayingStatus({
    remoteSnapshotMs: sync.targetCreatedAtMs,
    lastSync: stored.value.mirror?.lastSync,
    syncing,
    journal: journalOf(stored.value),
  });
  await report(deps, connection, globalId, status);
}
