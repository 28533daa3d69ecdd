// Owns the moment at which a replica moves: one compare-and-swap of its header, after every pack that the new root reaches is
// in the bucket. Nothing else ever changes a replica's content (I2).
//
//   complete                                  promote --force
//   reads the header: sync S
//                                             compare-and-swap: primary snapshot, sync gone
//   compare-and-swap fails; reads again: no sync S, so it stops. The head is the last complete point, as it was
//
//   complete                                  complete (repeated message)
//   compare-and-swap: sync S gone
//                                             no sync S: stops
//   deletes the checkpoints                   a late `apply` may write another marker; sync ids are not used again
//
//   complete, renaming to n                   create of n here
//   reads the header, claims n: taken         has n
//   keeps its name, and says so as a problem: protection of the data goes before the name

import { backOff, raceBackoff } from '../../bucket/backoff.ts';
import { racesMax, replaceDocument } from '../../bucket/document.ts';
import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { parseImageId } from '../../image/ids.ts';
import { keepParents } from '../../image/clones/lineage.ts';
import { claimName, freeName } from '../../image/names.ts';
import { announce } from '../peers/announce.ts';
import { listCheckpoints, readCheckpoint } from './checkpoints.ts';
import type { Plan } from './checkpoints.ts';
import type { MirrorDeps } from '../deps.ts';
import { follows } from './follow.ts';
import { pointOf, takenAtMs } from '../roles/history.ts';
import { newestMirrorSnapshot } from '../roles/mirror-snapshots.ts';
import type { Message, Outcome } from '../messages.ts';
import { connectPeer } from '../peers/peer-state.ts';
import type { Connection } from '../peers/peer-state.ts';
import type { Ack } from '../peer-protocol.ts';
import { completedHeader } from './replica-header.ts';
import { mirrorOf, recentPool, sends } from '../pool.ts';
import type { PeerRecord, Pool } from '../pool.ts';
import { isFlattenDue } from './replica-parent.ts';
import { report } from './report.ts';
import { effectivePolicy } from '../roles/keep-policy.ts';
import { stopStatus } from '../roles/roles.ts';
import { journalOf, replayingStatus } from '../copy-status.ts';

export type Commit = {
  plan: Plan;
  /** Whether the header still is one that this completion belongs to. */
  isCurrent: (header: Header) => boolean;
  bytes: number;
  startedAtMs: number;
};

/** The new header; undefined when another change came first and this completion no longer counts. */
export async function commitReplica(
  deps: MirrorDeps,
  first: Stored<Header>,
  commit: Commit,
): Promise<Header | undefined> {
  const uuid = deps.random.uuid();
  let stored: Stored<Header> | undefined = first;
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (!stored || !commit.isCurrent(stored.value)) return undefined;
    const before = stored.value;
    const value = await nextHeader(deps, before, commit, uuid);
    // Header last: every pack that the new root reaches is in the bucket.
    const replaced = await replaceDocument(deps.bucket, stored, value, deps.random);
    if (replaced) {
      if (isFlattenDue(value))
        await deps.queue.send([{ type: 'flatten', imageId: value.imageId }]).catch(() => undefined); // ticks go on with it
      if (value.name !== before.name) await freeName(deps, specOf(before, before.name), before.imageId);
      return replaced.value;
    }
    await backOff(raceBackoff, lostCount, deps);
    stored = await readHeader(deps, before.imageId);
  }
  throw new FarsideError('EAGAIN', `image ${first.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

/** A new name is claimed after the header was read, as names.ts asks. */
async function nextHeader(
  deps: MirrorDeps,
  header: Header,
  { plan, bytes, startedAtMs }: Commit,
  uuid: string,
): Promise<Header> {
  const wanted = plan.target.namespace.image.name;
  const nameTaken =
    wanted !== header.name && (await claimName(deps, specOf(header, wanted), parseImageId(header.imageId))) === 'taken';
  const name = nameTaken ? header.name : wanted;
  const pool = await recentPool(deps, header.pool);
  const completion = {
    nowMs: deps.clock.nowMs(),
    uuid,
    name,
    nameTaken,
    bytes,
    startedAtMs,
    policy: effectivePolicy(header, pool),
    // A site that was demoted stands at its demotion, and may follow us one day.
    peerUuids: (plan.demoted ? pool.peers.filter(sends) : fedBy(pool, plan.peerUuid)).map((peer) => peer.uuid),
    snapshotsMax: deps.limits.mirrorSnapshotsMax,
  };
  return keepParents(header, completedHeader(header, plan, completion));
}

/** The peers that get our copies of what this one gave us. */
const fedBy = (pool: Pool, peerUuid: string): PeerRecord[] =>
  pool.peers.filter((peer) => sends(peer) && peer.uuid !== peerUuid);

/** The next site of a chain learns of a copy as it would of a primary's snapshot. */
async function announceCopy(deps: MirrorDeps, header: Header, plan: Plan): Promise<void> {
  const pool = await recentPool(deps, header.pool);
  const peers = fedBy(pool, plan.peerUuid);
  const newest = newestMirrorSnapshot(header);
  if (peers.length === 0 || !newest) return;
  const point = pointOf(newest, mirrorOf(pool, header.namespace)?.mirrorUuid ?? '');
  await announce(deps, { ...pool, peers }, { globalId: header.mirror!.globalId, ...point });
}

const specOf = ({ pool, namespace }: Header, image: string): ImageSpec => ({ pool, namespace, image });

/** `done`, and `more` is to do at once. `waiting`: for pieces; `sync` is the message that takes them up when they stand still. */
export type Completion =
  | { state: 'done'; more: boolean }
  | { state: 'stale' }
  | { state: 'waiting'; newestAtMs: number; sync: Extract<Message, { type: 'sync' }> };

/** Completes a sync that goes by checkpoints, if everything is there. */
export async function completeSync(
  deps: MirrorDeps,
  pool: string,
  imageId: string,
  syncId: string,
): Promise<Completion> {
  const stored = await readHeader(deps, imageId);
  const sync = stored?.value.mirror?.sync;
  if (!stored || sync?.syncId !== syncId) return { state: 'stale' };
  const listed = await listCheckpoints(deps, imageId, syncId);
  const last = await readCheckpoint(deps, imageId, syncId, listed.stepCount - 1);
  const isWhole = last !== undefined && last.manifest.next === null && listed.copied.size === last.manifest.piecesSoFar;
  if (!isWhole) {
    const { globalId } = stored.value.mirror!;
    const newestAtMs = Math.max(listed.newestAtMs, sync.startedAtMs);
    return { state: 'waiting', newestAtMs, sync: { type: 'sync', pool, peerUuid: sync.peerUuid, globalId } };
  }
  const { manifest } = last;
  const plan = last.plan ?? (await readCheckpoint(deps, imageId, syncId, 0))?.plan;
  if (!plan) throw new FarsideError('EBADMSG', `the first checkpoint of sync ${syncId} has no plan`);
  const isCurrent = (header: Header): boolean => header.mirror?.sync?.syncId === syncId;
  const header = await commitReplica(deps, stored, {
    plan,
    isCurrent,
    bytes: manifest.bytesSoFar,
    startedAtMs: sync.startedAtMs,
  });
  await deps.bucket.delete(listed.keys);
  if (!header) return { state: 'stale' };
  const connection = await connectPeer(deps, pool, plan.peerUuid);
  const delta = { deltaId: manifest.deltaId, steps: manifest.step + 1 };
  await tellOfCopy(deps, connection, header, plan, delta);
  // With a policy, there may be points behind this one.
  const isStepwise = effectivePolicy(header, await recentPool(deps, header.pool)) !== undefined;
  const isFollowing = follows(header, plan.target.namespace.position);
  if (isStepwise || isFollowing)
    await deps.queue.send([{ type: 'sync', pool, peerUuid: plan.peerUuid, globalId: header.mirror!.globalId }]);
  return { state: 'done', more: isFlattenDue(header) || isStepwise || isFollowing };
}

/** Tells the site that we copied from that we have the target, and those that we feed that there is something new. */
export async function tellOfCopy(
  deps: MirrorDeps,
  connection: Connection | undefined,
  header: Header,
  plan: Plan,
  delta: Pick<NonNullable<Ack['synced']>, 'deltaId' | 'steps'>,
): Promise<void> {
  const { globalId } = header.mirror!;
  const status = statusAfter(plan, header);
  if (connection) await report(deps, connection, globalId, status, { snapId: plan.target.id, ...delta });
  await announceCopy(deps, header, plan);
}

function statusAfter(plan: Plan, header: Header): Parameters<typeof report>[3] {
  const { lastSync, problem } = header.mirror!;
  if (problem) return { state: 'error', description: problem.description };
  return plan.demoted
    ? stopStatus['remote-demoted']
    : replayingStatus({ remoteSnapshotMs: takenAtMs(plan.target), lastSync, journal: journalOf(header) });
}

/** A `complete` message: looks again later while the copy moves; when it stands still, a sync takes it up. */
export async function handleComplete(
  deps: MirrorDeps,
  message: Extract<Message, { type: 'complete' }>,
): Promise<Outcome> {
  const completion = await completeSync(deps, message.pool, message.imageId, message.syncId);
  if (completion.state !== 'waiting') return { kind: 'ack' };
  const { standstillMs, completeDelayMs } = deps.limits;
  const isMoving = deps.clock.nowMs() - completion.newestAtMs < standstillMs;
  if (isMoving) await deps.queue.send([message], { delayMs: completeDelayMs });
  else await deps.queue.send([completion.sync]);
  return { kind: 'ack' };
}

/** Whether two versions of a header agree in all that a sync was decided by, and no collection came between. */
export const isUnchanged = (began: Header, now: Header): boolean =>
  now.collect === undefined && basisOf(began) === basisOf(now);

function basisOf(header: Header): string {
  const { globalId, sync, attempt, resyncRequestedAtMs } = header.mirror ?? {};
  return JSON.stringify([
    globalId,
    sync?.syncId,
    attempt,
    resyncRequestedAtMs,
    header.collectGeneration,
    // What the parent holds was not copied.
    header.parent?.imageId,
    header.parent?.flatten !== undefined,
    mirrorSnapshots(header).at(-1)?.id,
  ]);
}
