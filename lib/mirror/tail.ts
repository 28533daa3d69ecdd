// Owns what a sync does about the tail of a replica in journal mode: follows the journal (follow.ts) once it is in step with the
// newest point, and sees to it that what was copied is never passed over in silence.

import type { Stored } from '../bucket/document.ts';
import type { Header, JournalPosition, MirrorSnapshot } from '../image/header.ts';
import { optionOf } from '../image/options.ts';
import { keepOwnStatus } from './acknowledge.ts';
import { addPending } from './announce.ts';
import { recentLevels } from './config.ts';
import type { MirrorDeps } from './deps.ts';
import { followJournal, follows, reachesBeyond } from './follow.ts';
import type { Followed } from './follow.ts';
import type { Message } from './messages.ts';
import type { Ack, PeerImage, PresentImage } from './peer-protocol.ts';
import type { Connection } from './peer-state.ts';
import { recall, recent, remember } from './recent.ts';
import { report } from './report.ts';
import { stopStatus } from './roles.ts';
import type { Decision } from './roles.ts';
import { journalOf } from './status-report.ts';
import type { JournalProgress, StatusText } from './status-report.ts';
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
  const followed = await followJournal(deps, following, {
    foldedThere: remote.position,
    untilMs: beganAtMs - (await replayDelayMs(deps, stored.value)),
  });
  const { pool, record, peer } = connection;
  if (followed.state === 'gone') await peer.requestPoint(globalId);
  if (followed.state === 'more')
    await deps.queue.send([{ type: 'sync', pool: pool.name, peerUuid: record.uuid, globalId }]);
  const journal = progressOf(followed, remote.position, deps.clock.nowMs() - beganAtMs);
  return { progress: progressAfter[followed.state], journal };
}

const progressAfter: Record<Followed['state'], Progress> = {
  settled: 'settled',
  fresh: 'following',
  more: 'working',
  gone: 'again',
};

/** `rbd_mirroring_replay_delay`: how old a segment has to be. A replica that is late on purpose can be had from before a mistake. */
async function replayDelayMs(deps: MirrorDeps, { pool, meta }: Header): Promise<number> {
  return optionOf('rbd_mirroring_replay_delay', await recentLevels(deps, pool, meta)) * 1000;
}

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
  if (decision.kind !== 'sync' || !stored || remote.status !== 'present') return decision;
  if (!(await reachesBeyond(deps, stored.value, remote.snapshots))) return decision;
  return decision.resync
    ? { ...decision, losesTail: true }
    : { kind: 'stop', reason: 'split-brain', ...stopStatus['split-brain'] };
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
