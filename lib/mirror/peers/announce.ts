// Owns how a change becomes known: a record in the pool's feed, and a wake-up to each peer. Both come after the commit and
// neither may fail it: a lost wake-up costs until the peer's next poll, a lost record until its next full comparison.

import type { MirrorDeps } from '../deps.ts';
import { appendToFeed } from './feed.ts';
import type { Message } from '../messages.ts';
import type { FeedRecord } from '../peer-protocol.ts';
import { updatePeerState } from './peer-state.ts';
import { isKnown, receives, sends } from '../pool.ts';
import type { PeerRecord, Pool } from '../pool.ts';

/** Queues take at most 100 messages at once. */
const batchMessagesMax = 100;

export async function sendAll(deps: Pick<MirrorDeps, 'queue'>, messages: readonly Message[]): Promise<void> {
  for (let index = 0; index < messages.length; index += batchMessagesMax) {
    await deps.queue.send(messages.slice(index, index + batchMessagesMax));
  }
}

/** Tells the peers that we send to. Waits at most `wakeWaitMs` for them. Without `record`, a lost wake-up is made up for by a later one. */
export async function announce(
  deps: MirrorDeps,
  pool: Pool,
  change: FeedRecord,
  { record = true }: { record?: boolean } = {},
): Promise<void> {
  if (record) await quietly(appendToFeed(deps, pool.name, change));
  const wakes = pool.peers
    .filter((peer) => sends(peer) && isKnown(peer))
    .map((peer) => quietly(wake(deps, pool.name, peer, change.globalId)));
  if (wakes.length > 0) await Promise.race([Promise.all(wakes), deps.clock.sleep(deps.limits.wakeWaitMs)]);
}

async function wake(deps: MirrorDeps, pool: string, peer: PeerRecord, globalId: string): Promise<void> {
  await (await deps.peers(pool, peer)).wake([globalId]);
}

/** Something changed here that makes us look at the peers that we receive from. Noted durably before the message is sent. */
export async function lookAtPeers(deps: MirrorDeps, pool: Pool, globalId: string): Promise<void> {
  for (const { uuid } of pool.peers.filter(receives)) {
    await addPending(deps, pool.name, uuid, globalId);
    await quietly(deps.queue.send([{ type: 'sync', pool: pool.name, peerUuid: uuid, globalId }]));
  }
}

/** The next polls look at the image until there is nothing to do. */
export async function addPending(deps: MirrorDeps, pool: string, peerUuid: string, globalId: string): Promise<void> {
  const sinceMs = deps.clock.nowMs();
  await updatePeerState(deps, pool, peerUuid, (state) => ({
    ...state,
    pending: { ...state.pending, [globalId]: { sinceMs } },
  }));
}

async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch {
    // See the head of this file.
  }
}
