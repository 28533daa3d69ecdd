// Owns what a sync does about the tail of a replica in journal mode: follows the journal (follow.ts) once it is in step with the
// newest point, and sees to it that what was copied is never passed over in silence.

import type { Stored } from '../../bucket/document.ts';
import { updateHeader } from '../../image/access.ts';
import type { Header, JournalPosition, MirrorSnapshot } from '../../image/header.ts';
import { optionOf } from '../../image/options.ts';
import { keepOwnStatus } from '../primary/acknowledge.ts';
import { addPending, announce } from '../peers/announce.ts';
import { recentLevels } from '../config.ts';
import { replayDelayMs } from './delay.ts';
import type { MirrorDeps } from '../deps.ts';
import { followJournal, follows, reachesBeyond } from './follow.ts';
import type { Followed } from './follow.ts';
import type { Message } from '../messages.ts';
import type { Ack, PeerImage, PresentImage } from '../peer-protocol.ts';
import type { Connection } from '../peers/peer-state.ts';
import { sends } from '../pool.ts';
import { recall, recent, remember } from '../recent.ts';
import { report } from './report.ts';
import { promotionState, stopStatus } from '../roles/roles.ts';
import type { Decision } from '../roles/roles.ts';
import { journalOf } from '../copy-status.ts';
import type { JournalProgress, StatusText } from '../copy-status.ts';
import type { Progress } from './steps.ts';

type SyncMessage = Extract<Message, { type: 'sync' }>;
type Replica = { connection: Connection; globalId: string; stored: Stored<Header> | undefined };

/** Shorter than a replica counts as fresh (follow.ts). */
const followNotedMs = 60_000;

export type Tail = { progress: Progress; journal?: JournalProgress | undefined };

/** Copies what the primary's journal has beyond the newest point. */
export async function followTail(
  deps: MirrorDeps,
  { connection, globalId, stored }: Replica,
  remote: PresentImage,
  newest: MirrorSnapshot | undefined,
): Promise<Tail> {
  if (!stored) return { progress: 'settled' };
  if (!follows(stored.value, newest?.namespace.position))
    return { progress: 'settled', journal: journalOf(stored.value) };
  const following = {
    peer: connection.peer,
    primaryImageId: remote.imageId,
    stored: { ...stored, value: stored.value },
  };
  const beganAtMs = deps.clock.nowMs();
  const delayMs = await replayDelayMs(deps, stored.value);
  const followed = await followJournal(deps, following, {
    foldedThere: remote.position,
    // Without a delay no time counts: what was sealed since this began, or by a clock that is ahead, would be fetched in vain.
    untilMs: delayMs === 0 ? Infinity : beganAtMs - delayMs,
  });
  const { pool, record, peer } = connection;
  if (followed.state === 'gone') await peer.requestPoint(globalId);
  if (followed.entries > 0) await announceOnward(deps, connection, globalId);
  if (followed.state === 'more')
    await deps.queue.send([{ type: 'sync', pool: pool.name, peerUuid: record.uuid, globalId }]);
  const journal = progressOf(followed, remote.position, deps.clock.nowMs() - beganAtMs);
  // The point that another site was asked for comes later.
  const isAskedOn = followed.state === 'gone' && promotionState(remote.snapshots) !== 'primary';
  return { progress: isAskedOn ? 'later' : progressAfter[followed.state], journal };
}

/** The next site of a chain follows the slots here as we do those of the primary. */
async function announceOnward(deps: MirrorDeps, { pool, record }: Connection, globalId: string): Promise<void> {
  const peers = pool.peers.filter((one) => sends(one) && one.uuid !== record.uuid);
  if (peers.length > 0) await announce(deps, { ...pool, peers }, { globalId });
}

const progressAfter: Record<Followed['state'], Progress> = {
  settled: 'settled',
  fresh: 'following',
  more: 'working',
  gone: 'again',
};

function progressOf(followed: Followed, primary: JournalPosition | undefined, elapsedMs: number): JournalProgress {
  const { end, bytes, entries } = followed;
  const isPrimaryFurther = primary !== undefined && (primary.epoch !== end.epoch || primary.seq > end.seq);
  const seconds = Math.max(elapsedMs, 1) / 1000;
  return {
    position: end,
    primary: isPrimaryFurther ? primary : end,
    bytesPerSecond: bytes / seconds,
    entriesPerSecond: entries / seconds,
  };
}

/** While a journal is followed its status changes with every segment: it is told that often and no more. */
const reportEveryMs = 10_000;

type Told = { status: StatusText; synced: Ack['synced']; isLast: boolean };

/** Tells the primary, and notes here, how the copy follows. */
export async function reportTail(
  deps: MirrorDeps,
  connection: Connection,
  globalId: string,
  { status, synced, isLast }: Told,
): Promise<void> {
  const cacheMs = synced || isLast ? 0 : reportEveryMs;
  const key = `journal report ${connection.pool.name}/${connection.record.uuid}/${globalId}`;
  await recent({ ...deps, limits: { ...deps.limits, cacheMs } }, key, async () => {
    await report(deps, connection, globalId, status, synced);
    const own = { ...status, updatedAtMs: deps.clock.nowMs() };
    if (recall(deps, `${key} text`) !== status.description)
      await keepOwnStatus(deps, connection.pool.name, globalId, own);
    remember(deps, `${key} text`, status.description);
    return true;
  });
}

/**
 * What a replica has of a journal may reach further than what another replica of the same primary was promoted from. That is a
 * split-brain; a resync keeps it.
 */
export async function withTail(
  deps: MirrorDeps,
  { stored, remote }: Replica & { remote: PeerImage },
  decision: Decision,
): Promise<Decision> {
  if (!stored || remote.status !== 'present') return decision;
  if (remote.disconnected === true && isFollower(stored.value) && isReplaying(decision))
    return disconnected(deps, stored);
  if (decision.kind !== 'sync') return decision;
  if (!(await reachesBeyond(deps, stored.value, remote.snapshots))) return decision;
  return decision.resync
    ? { ...decision, losesTail: true }
    : { kind: 'stop', reason: 'split-brain', ...stopStatus['split-brain'] };
}

/** One that is still being made follows nothing yet; its first copy connects it, as a resync does. */
const isFollower = ({ mirror }: Header): boolean => mirror?.mode === 'journal' && mirror.state === 'enabled';

const isReplaying = (decision: Decision): boolean =>
  decision.kind === 'idle' || (decision.kind === 'sync' && !decision.resync);

/** Stays as it is until a resync is asked for: by the user, or by the option. */
async function disconnected(deps: MirrorDeps, stored: Stored<Header>): Promise<Decision> {
  const { pool, meta } = stored.value;
  if (!optionOf('rbd_mirroring_resync_after_disconnect', await recentLevels(deps, pool, meta)))
    return { kind: 'stop', reason: 'disconnected', ...stopStatus.disconnected };
  const resyncRequestedAtMs = deps.clock.nowMs();
  const request = (header: Header): Header | undefined =>
    header.mirror && header.mirror.resyncRequestedAtMs === undefined
      ? { ...header, mirror: { ...header.mirror, resyncRequestedAtMs } }
      : undefined;
  await updateHeader(deps, stored, request, { byMirroring: true });
  return { kind: 'wait', why: 'disconnected; a resync is requested' };
}

/** The next polls look at the image, though no wake-up and no record may come. Not noted anew by each of many wake-ups. */
export async function lookNextTick(
  deps: MirrorDeps,
  { pool, peerUuid, globalId }: Pick<SyncMessage, 'pool' | 'peerUuid' | 'globalId'>,
): Promise<void> {
  const limits = { ...deps.limits, cacheMs: followNotedMs };
  await recent({ ...deps, limits }, `following ${pool}/${peerUuid}/${globalId}`, async () => {
    await addPending(deps, pool, peerUuid, globalId);
    return true;
  });
}
