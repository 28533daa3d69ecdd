// Owns what a replica does about one image of one peer: looks at both sides, lets `decideSync` decide, and acts. Every other
// handler of the replica is set in motion from here, and repeating it at any time is harmless: what is done already is seen
// and not done again.
//
//   sync (woken by snapshot 7)                sync (from the poll)
//   decides: copy 7                           decides: copy 7
//   copies, completes with one swap
//                                             its swap is refused: the newest mirror snapshot is another; decides anew: idle

import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header } from '../../image/header.ts';
import { noteSeen } from '../primary/acknowledge.ts';
import { addPending, announce } from '../peers/announce.ts';
import { lookUp } from '../peers/catalog.ts';
import type { Catalog } from '../peers/catalog.ts';
import { listCheckpoints } from './checkpoints.ts';
import { beginCopy } from './copy.ts';
import { asDelayed } from './delay.ts';
import type { MirrorDeps } from '../deps.ts';
import { pointOf, takenAtMs } from '../roles/history.ts';
import { newestMirrorSnapshot } from '../roles/mirror-snapshots.ts';
import type { Message, Outcome } from '../messages.ts';
import { connectPeer } from '../peers/peer-state.ts';
import type { Connection } from '../peers/peer-state.ts';
import type { PeerImage, PresentImage } from '../peer-protocol.ts';
import { maySend, receives, sends } from '../pool.ts';
import type { PeerRecord } from '../pool.ts';
import { noteFailure, noteProblem } from './problem.ts';
import { isUnreachable, reachablePeer } from '../peers/reachable.ts';
import { remember } from '../recent.ts';
import { findParent, flattenDue, linkParent, type FoundParent } from './replica-parent.ts';
import { createReplica, finishRemoval, holdsName, isNameTaken, removeReplica } from './replica.ts';
import { report } from './report.ts';
import { decideSync, promotionState, stopStatus } from '../roles/roles.ts';
import type { Decision, StopDecision, SyncDecision } from '../roles/roles.ts';
import { replayingStatus } from '../copy-status.ts';
import { continueCopy } from './steps.ts';
import { followTail, lookNextTick, reportTail, withTail } from './tail.ts';
import { putTombstone, readTombstone } from '../peers/tombstone.ts';
import type { Progress } from './steps.ts';
import { isPrimaryThere, localView, placed, remoteView, type Both } from './views.ts';

type SyncMessage = Extract<Message, { type: 'sync' }>;

/** Decisions of one invocation, each after something changed under the one before. */
const decisionsMax = 3;
/** Another site's copy that has not moved for so many standstills may be given up for one from here. */
const standstillsMax = 4;
/** Delay before a decision is tried again that lost every one of them. */
const againDelayMs = 1000;

export async function handleSync(deps: MirrorDeps, message: SyncMessage): Promise<Outcome> {
  const { pool, peerUuid, globalId } = message;
  try {
    const progress = await syncImage(deps, message);
    if (progress === 'later') await addPending(deps, pool, peerUuid, globalId);
    if (progress === 'following') await lookNextTick(deps, message);
    return progress === 'again' ? { kind: 'retry', delayMs: againDelayMs } : { kind: 'ack' };
  } catch (error) {
    // The peer's feed, or our list of pending images, still has it.
    if (isUnreachable(error)) return { kind: 'ack' };
    throw error;
  }
}

/** `settled` is also remembered, for the poll. */
export async function syncImage(deps: MirrorDeps, message: Omit<SyncMessage, 'type'>): Promise<Progress> {
  const connection = await connectPeer(deps, message.pool, message.peerUuid);
  if (!connection || !receives(connection.record)) return 'settled';
  let progress: Progress = 'again';
  for (let count = 0; count < decisionsMax && progress === 'again'; count++)
    progress = await syncOnce(deps, connection, message);
  if (progress === 'settled') remember(deps, settledKey(message), deps.clock.nowMs());
  return progress;
}

export const settledKey = ({ pool, peerUuid, globalId }: Pick<SyncMessage, 'pool' | 'peerUuid' | 'globalId'>): string =>
  `settled ${pool}/${peerUuid}/${globalId}`;

type Subject = Omit<SyncMessage, 'type'> & { isFormer?: boolean };

async function syncOnce(deps: MirrorDeps, connection: Connection, message: Subject): Promise<Progress> {
  const { pool, globalId } = message;
  // In this order: see copy.ts.
  const { stored, entry, catalog } = await lookUp(deps, pool, globalId);
  const there = placed(connection, stored, await connection.peer.image(globalId));
  if (!there) return 'settled'; // of a namespace that is not mirrored here
  if (!stored && (await endFormer(deps, connection, message, there, catalog))) return 'again';
  const { remote, isWaiting } = await asDelayed(deps, connection.pool, stored, there);
  if (entry && (await finishRemoval(deps, pool, globalId, entry)) === 'more') return 'later';
  const nameTaken = !stored && remote.status === 'present' && (await isNameTaken(deps, pool, remote));
  if (stored && (await isCopiedElsewhere(deps, connection, globalId, stored))) return 'later';
  const both: Both = { connection, globalId, remote, stored, catalog: entry ? undefined : catalog };
  const decision = decideSync({
    local: { ...localView(both, nameTaken), givenUp: await isGivenUp(deps, both) },
    remote: remoteView(both),
  });
  if (await leavesPrimary(deps, both, decision)) return reportStop(deps, both, stopStatus['split-brain']);
  try {
    const progress = await act(deps, both, await withTail(deps, both, decision), message.continues);
    return progress === 'settled' && isWaiting ? 'following' : progress;
  } catch (error) {
    if (stored && (await isOvertaken(deps, stored.value, error))) return 'again';
    if (stored) await noteFailure(deps, stored, error);
    throw error;
  }
}

/** What the image was mirrored as before comes to its end first: its replica here may be the one to go on with, and has the name. */
async function endFormer(
  deps: MirrorDeps,
  connection: Connection,
  { pool, peerUuid, isFormer = false }: Subject,
  remote: PeerImage,
  catalog: Stored<Catalog> | undefined,
): Promise<boolean> {
  if (isFormer || remote.status !== 'present') return false;
  let isEnded = false;
  for (const { globalId } of remote.formerly ?? []) {
    if (catalog?.value.images[globalId] === undefined) continue;
    await syncOnce(deps, connection, { pool, peerUuid, globalId, isFormer: true });
    const now = await lookUp(deps, pool, globalId);
    isEnded ||= (now.stored ?? now.entry) === undefined;
  }
  return isEnded;
}

/** The copy that the decision was about was removed meanwhile, by another message of the same removal. */
async function isOvertaken(deps: MirrorDeps, { imageId }: Header, error: unknown): Promise<boolean> {
  const isMissing = error instanceof FarsideError && error.code === 'ENOENT';
  return isMissing && (await readHeader(deps, imageId)) === undefined;
}

async function act(
  deps: MirrorDeps,
  both: Both,
  decision: Decision,
  continues: SyncMessage['continues'],
): Promise<Progress> {
  switch (decision.kind) {
    case 'sync':
      return copy(deps, both, decision, continues);
    case 'idle':
      return idle(deps, both, decision.acknowledge);
    case 'stop':
      return stand(deps, both, decision);
    case 'remove':
      await passOn(deps, both);
      return removeHere(deps, both);
    case 'wait':
      return 'later';
  }
}

async function removeHere(deps: MirrorDeps, { connection, globalId, remote, stored }: Both): Promise<Progress> {
  const stays = remote.status === 'removed' && remote.stays === true;
  const removed = await removeReplica(deps, connection.pool.name, globalId, stored!, { stays });
  return removed === 'done' ? 'settled' : 'later';
}

async function copy(
  deps: MirrorDeps,
  both: Both,
  decision: SyncDecision,
  continues: SyncMessage['continues'],
): Promise<Progress> {
  const { connection, globalId, remote } = both;
  if (remote.status !== 'present') return 'again';
  const pool = connection.pool.name;
  const parent = await parentFor(deps, both, remote, decision);
  if (parent.kind === 'waiting') return waitForParent(deps, both, parent.description);
  const stored = both.stored ?? (await createReplica(deps, pool, globalId, remote, both.catalog));
  if (stored === 'busy') return 'later';
  if (stored === 'name-taken') return reportStop(deps, both, stopStatus['name-clash']);
  // Another handler may have made the image meanwhile and gone on with it: then it is not the one that was decided about.
  if (!both.stored && !isUntouched(stored.value)) return 'again';
  const isHalfMade = both.stored?.value.mirror?.state === 'creating';
  if (isHalfMade && !(await holdsName(deps, stored))) {
    await removeReplica(deps, pool, globalId, stored, { stays: stored.value.formerly !== undefined });
    return 'again';
  }
  // One that was kept has its link still.
  const isUnlinked = stored.value.parent === undefined;
  const linked = parent.kind === 'found' && isUnlinked ? await linkParent(deps, stored, parent) : stored;
  if (!linked) return 'again';
  const copying = { connection, globalId, stored: linked };
  const { sync } = stored.value.mirror!;
  return decision.continues && sync
    ? continueCopy(deps, { copying, sync }, continues)
    : beginCopy(deps, copying, remote, decision);
}

/** Only the first sync makes a replica a clone. */
async function parentFor(
  deps: MirrorDeps,
  { stored }: Both,
  remote: PresentImage,
  { targetSnapId }: SyncDecision,
): Promise<FoundParent> {
  const isFirst = !stored || (stored.value.mirror?.state === 'creating' && !stored.value.mirror.sync);
  if (!isFirst || stored?.value.parent) return { kind: 'none' };
  return findParent(deps, remote, targetSnapId);
}

/** Ticks look again. */
async function waitForParent(deps: MirrorDeps, both: Both, description: string): Promise<Progress> {
  if (both.stored) await noteProblem(deps, both.stored, { description, error: false });
  await report(deps, both.connection, both.globalId, { state: 'starting_replay', description });
  return 'later';
}

/** The primary was flattened: a step of what that takes here. */
async function flattenToo(deps: MirrorDeps, { stored }: Both): Promise<Progress> {
  return !stored || (await flattenDue(deps, stored)).done ? 'settled' : 'later';
}

const isUntouched = (header: Header): boolean =>
  header.mirror?.state === 'creating' && header.mirror.sync === undefined && mirrorSnapshots(header).length === 0;

/** Asked only where it matters: a copy of another's is offered, and there is none here. */
async function isGivenUp(deps: MirrorDeps, both: Both): Promise<boolean> {
  if (both.stored || both.remote.status !== 'present' || isPrimaryThere(both)) return false;
  return (await readTombstone(deps, both.connection.pool.name, both.globalId)) !== undefined;
}

/** The next site of a chain removes its copy when we say that we were told to. */
async function passOn(deps: MirrorDeps, { connection, globalId, remote }: Both): Promise<void> {
  const { pool, record } = connection;
  const peers = pool.peers.filter((peer) => sends(peer) && peer.uuid !== record.uuid);
  if (peers.length === 0 || remote.status !== 'removed') return;
  const mirrorUuid = remote.mirrorUuid ?? record.mirrorUuid;
  await putTombstone(deps, pool.name, globalId, { mirrorUuid, stays: remote.stays === true });
  await announce(deps, { ...pool, peers }, { globalId });
}

/** In step with the primary. Clears what stood in the way before, but for a name that is still another image's. */
async function idle(deps: MirrorDeps, both: Both, acknowledge: number | undefined): Promise<Progress> {
  const { connection, globalId, remote, stored } = both;
  if (!stored || remote.status !== 'present') return 'settled';
  const { problem, lastSync } = stored.value.mirror!;
  const newest = remote.snapshots.at(-1);
  const tail = await followTail(deps, both, remote, newest);
  const nameDiffers = newest !== undefined && newest.namespace.image.name !== stored.value.name;
  if (problem && !nameDiffers && (isPrimaryThere(both) || isHeard(both))) await noteProblem(deps, stored, undefined);
  const status =
    problem && nameDiffers
      ? { state: 'error' as const, description: problem.description }
      : replayingStatus({ remoteSnapshotMs: newest && takenAtMs(newest), lastSync, journal: tail.journal });
  const synced = acknowledge === undefined ? undefined : { snapId: acknowledge, steps: 0 };
  if (tail.journal)
    await reportTail(deps, connection, globalId, { status, synced, isLast: tail.progress === 'settled' });
  else await report(deps, connection, globalId, status, synced);
  const progress = await flattenToo(deps, both);
  return tail.progress === 'settled' ? progress : tail.progress;
}

/** Cannot go on, for a reason that only a change on one of the sides removes. */
async function stand(deps: MirrorDeps, both: Both, decision: StopDecision): Promise<Progress> {
  const { stored } = both;
  if (decision.reason === 'split-brain') {
    const { description } = decision;
    const problem = { description, error: true, peerUuid: both.connection.record.uuid };
    if (stored && !(await followsAnother(deps, both))) await noteProblem(deps, stored, problem);
  } else if (stored && isHeard(both)) {
    const isProblem = decision.state !== 'stopped' && isFollowed(both);
    const { description, state } = decision;
    await noteProblem(deps, stored, isProblem ? { description, error: state === 'error' } : undefined);
  }
  if (decision.state === 'stopped') await noteOtherPrimary(deps, both);
  await reportStop(deps, both, decision, decision.acknowledge);
  return flattenToo(deps, both);
}

/** We are primary; a site that only sends does not tell us that it is, too. */
async function noteOtherPrimary(deps: MirrorDeps, both: Both): Promise<void> {
  const { connection, globalId, remote } = both;
  const { pool, record } = connection;
  if (remote.status !== 'present' || maySend(record)) return;
  const { state, description } = stopStatus[isPrimaryThere(both) ? 'local-primary' : 'remote-not-primary'];
  await noteSeen(deps, pool.name, record.uuid, globalId, { state, description });
}

/** A split-brain with one of several sites stands until that one shows none, or a primary is in step. */
function isHeard(both: Both): boolean {
  const { connection, stored } = both;
  const splitFrom = stored?.value.mirror?.problem?.peerUuid;
  if (splitFrom === connection.record.uuid) return true;
  return isFollowed(both) && !othersOf(connection).some(({ uuid }) => uuid === splitFrom);
}

/** Where a pool receives from several sites, an image's problems are those with the site that it was copied from last. */
function isFollowed({ connection: { pool, record }, stored }: Both): boolean {
  const followed = stored?.value.mirror?.lastSync?.peerUuid;
  return followed === record.uuid || !pool.peers.some((peer) => receives(peer) && peer.uuid === followed);
}

const othersOf = ({ pool, record }: Connection): PeerRecord[] =>
  pool.peers.filter((peer) => receives(peer) && peer.uuid !== record.uuid);

/** Another site's copy is under way, and moves or will: its site goes on when its turn comes. Damage there is a reason to take over. */
async function isCopiedElsewhere(
  deps: MirrorDeps,
  connection: Connection,
  globalId: string,
  stored: Stored<Header>,
): Promise<boolean> {
  const { imageId, mirror } = stored.value;
  const { sync, problem } = mirror!;
  const other = othersOf(connection).find(({ uuid }) => uuid === sync?.peerUuid);
  if (!sync || !other) return false;
  const { newestAtMs } = await listCheckpoints(deps, imageId, sync.syncId);
  const stoodMs = deps.clock.nowMs() - Math.max(newestAtMs, sync.startedAtMs);
  if (stoodMs < standstillsMax * deps.limits.standstillMs) return true;
  const there = await connectPeer(deps, connection.pool.name, other.uuid);
  return there !== undefined && problem?.error !== true && goesOn(deps, there, globalId, stored);
}

/** Of the site whose copy stands still: it answers, and what it says is copied. */
async function goesOn(
  deps: MirrorDeps,
  connection: Connection,
  globalId: string,
  stored: Stored<Header>,
): Promise<boolean> {
  const remote = placed(connection, stored, await reachablePeer(deps, () => connection.peer.image(globalId)));
  if (!remote) return false;
  const both: Both = { connection, globalId, remote, stored, catalog: undefined };
  const decision = decideSync({ local: localView(both, false), remote: remoteView(both) });
  return decision.kind === 'sync' && !(await leavesPrimary(deps, both, decision));
}

/**
 * An image follows one primary: it does not go over to another while the one that it follows still says that it is primary. Only
 * where a pool receives from several sites.
 */
async function leavesPrimary(deps: MirrorDeps, both: Both, decision: Decision): Promise<boolean> {
  const { stored, remote } = both;
  if (decision.kind !== 'sync' || decision.resync || remote.status !== 'present' || !stored) return false;
  const target = remote.snapshots.find(({ id }) => id === decision.targetSnapId);
  const point = target && pointOf(target, remote.mirrorUuid);
  const newest = newestMirrorSnapshot(stored.value)?.namespace;
  if (!point || newest?.state !== 'non-primary' || point.mirrorUuid === newest.primaryMirrorUuid) return false;
  return followsAnother(deps, both);
}

/** Another site that we receive from says that it is the primary whose point our newest is. */
async function followsAnother(deps: MirrorDeps, { connection, globalId, stored }: Both): Promise<boolean> {
  const followed = stored && newestMirrorSnapshot(stored.value)?.namespace.primaryMirrorUuid;
  for (const record of othersOf(connection)) {
    const ask = async (): Promise<PeerImage> => (await deps.peers(connection.pool.name, record)).image(globalId);
    const image = await reachablePeer(deps, ask);
    const isThere = image?.status === 'present' && image.mirrorUuid === followed;
    if (isThere && promotionState(image.snapshots) === 'primary') return true;
  }
  return false;
}

async function reportStop(
  deps: MirrorDeps,
  { connection, globalId, remote }: Both,
  status: Pick<StopDecision, 'state' | 'description'>,
  acknowledge?: number,
): Promise<Progress> {
  const { state, description } = status;
  if (remote.status === 'present') {
    await report(
      deps,
      connection,
      globalId,
      { state, description },
      acknowledge === undefined ? undefined : { snapId: acknowledge, steps: 0 },
    );
  }
  return 'settled';
}
