// Owns what a sync does about the tail of a replica in journal mode: follows the journal (follow.ts) once it is in step with the
// newest point, and sees to it that what was copied is never passed over in silence.

import type { Stored } from '../bucket/document.ts';
import type { Header, MirrorSnapshot } from '../image/header.ts';
import { addPending } from './announce.ts';
import type { MirrorDeps } from './deps.ts';
import { followJournal, follows, reachesBeyond } from './follow.ts';
import type { Message } from './messages.ts';
import type { PeerImage, PresentImage } from './peer-protocol.ts';
import type { Connection } from './peer-state.ts';
import { recent } from './recent.ts';
import { stopStatus } from './roles.ts';
import type { Decision } from './roles.ts';
import type { Progress } from './steps.ts';

type SyncMessage = Extract<Message, { type: 'sync' }>;
type Replica = { connection: Connection; globalId: string; stored: Stored<Header> | undefined };

/** Shorter than a replica counts as fresh (follow.ts). */
const followNotedMs = 60_000;

/** Copies what the primary's journal has beyond the newest point. */
export async function followTail(
  deps: MirrorDeps,
  { connection, globalId, stored }: Replica,
  remote: PresentImage,
  newest: MirrorSnapshot | undefined,
): Promise<Progress> {
  if (!stored || !follows(stored.value, newest?.namespace.position)) return 'settled';
  const following = {
    peer: connection.peer,
    primaryImageId: remote.imageId,
    stored: { ...stored, value: stored.value },
  };
  const { state } = await followJournal(deps, following, {
    foldedThere: remote.position,
    untilMs: deps.clock.nowMs(),
  });
  if (state === 'settled') return 'settled';
  if (state === 'fresh') return 'following';
  if (state === 'gone') {
    await connection.peer.requestPoint(globalId);
    return 'again';
  }
  const pool = connection.pool.name;
  await deps.queue.send([{ type: 'sync', pool, peerUuid: connection.record.uuid, globalId }]);
  return 'working';
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
