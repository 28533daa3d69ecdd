// Owns the reconcile pass of one peer that we receive from: reads on in its feed and looks at the images that are pending. It
// finds, without any message, all that messages could have said (I4), and costs the same few requests on a quiet pool whatever
// the number of images (I11): the pool, our state with the peer, one miss in the feed, a heartbeat.
//
// An image is *pending* from the record that named it until we have seen that nothing is left to do:
// - a record names a snapshot: settled when our copy is at that snapshot or a newer one, which our own header tells;
// - anything else (a comparison, a local resync or demotion, an acknowledgement that was lost): settled by a sync that found
//   nothing to do, since it became pending.
// A pending image is first sent as a message; one that is still pending at the next poll is looked after by the poll itself,
// a few each time, because messages may be lost; also when the feed has named it again meanwhile. They take turns: one that was tried in vain goes behind those that have waited
// longer, so that images which cannot go on for long (clones without their parent) keep no other waiting.
//
//   poll                                      sync (of a message)
//   feed: image G, snapshot 7; G is pending
//   sends `sync` G
//                                             copies 7
//   next poll: our header is at 7: settled
//
// The cursor and the pending images are written together, after the feed was read: a poll that dies reads the same again.

import pLimit from 'p-limit';

import { heardBeyond } from '../primary/beyond.ts';
import { FarsideError } from '../../errors.ts';
import type { Header } from '../../image/header.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import { sendAll } from '../peers/announce.ts';
import { findImage, readCatalog } from '../peers/catalog.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Message, Outcome } from '../messages.ts';
import { connectPeer, readPeerState, updatePeerState } from '../peers/peer-state.ts';
import type { Connection, PeerState, Pending, Trouble } from '../peers/peer-state.ts';
import { maySend, mirrorOf, receives } from '../pool.ts';
import type { Pool } from '../pool.ts';
import { isUnreachable } from '../peers/reachable.ts';
import { recall, recent } from '../recent.ts';
import { isFlattenDue } from './replica-parent.ts';
import { promotionState } from '../roles/roles.ts';
import { settledKey, syncImage } from './sync.ts';

/** Headers read at once. */
const readsMax = 16;

export async function handlePoll(
  deps: MirrorDeps,
  { pool, peerUuid }: Pick<Extract<Message, { type: 'poll' }>, 'pool' | 'peerUuid'>,
): Promise<Outcome> {
  const connection = await connectPeer(deps, pool, peerUuid);
  if (!connection || !receives(connection.record)) return { kind: 'ack' };
  const before = await readPeerState(deps, pool, peerUuid);
  try {
    const { state, fresh } = await lookAround(deps, connection, before);
    const { settled, triedInVain } = await lookAfter(deps, connection, state.pending, {
      before: before.pending,
      fresh,
    });
    await keep(deps, connection, before, { ...state, pending: takingTurns(deps, state.pending, triedInVain) }, settled);
    await noteTrouble(deps, connection, before, undefined);
  } catch (error) {
    await noteTrouble(deps, connection, before, troubleOf(error));
    if (!isUnreachable(error)) throw error; // away: the next poll tries again
  }
  return { kind: 'ack' };
}

/** For the status. Written when it changes only: a peer that stays away costs no writes. */
async function noteTrouble(
  deps: MirrorDeps,
  { pool, record }: Connection,
  before: PeerState,
  trouble: Trouble | undefined,
): Promise<void> {
  if (trouble === before.trouble) return;
  await updatePeerState(deps, pool.name, record.uuid, ({ trouble: _, ...state }) => ({
    ...state,
    ...(trouble && { trouble }),
  }));
}

function troubleOf(error: unknown): Trouble | undefined {
  if (isUnreachable(error)) return 'unreachable';
  return error instanceof FarsideError && error.code === 'EACCES' ? 'refused' : undefined;
}

type Found = { state: PeerState; fresh: ReadonlySet<string> };

/** What the peer has to say since the last time. */
async function lookAround(deps: MirrorDeps, connection: Connection, before: PeerState): Promise<Found> {
  const nowMs = deps.clock.nowMs();
  const isDue = nowMs - before.comparedAtMs >= deps.limits.compareEveryMs;
  const { cursor, pending } = isDue ? await compare(deps, connection, before) : await readOn(deps, connection, before);
  await beat(deps, connection, cursor);
  const state = {
    ...before,
    cursor,
    comparedAtMs: isDue ? nowMs : before.comparedAtMs,
    pending: joined(before.pending, pending),
  };
  return { state, fresh: new Set(Object.keys(pending)) };
}

/** An image that waits for a sync to look at it is not settled by being at a snapshot. All keep their places. */
function joined(before: Pending, found: Pending): Pending {
  const both = Object.entries(found).flatMap(([globalId, entry]) => {
    const old = before[globalId];
    if (!old) return [];
    const { sinceMs } = entry;
    return [[globalId, { ...(old.snapId === undefined ? { sinceMs } : entry), turnMs: placeOf(old) }]];
  });
  return { ...before, ...found, ...Object.fromEntries(both) };
}

const placeOf = ({ turnMs, sinceMs }: Pending[string]): number => turnMs ?? sinceMs;

/** Nothing is noted when every pending image had its turn: places do not matter then. */
function takingTurns(deps: MirrorDeps, pending: Pending, { ids, isCrowded }: Tried): Pending {
  if (!isCrowded) return pending;
  const turnMs = deps.clock.nowMs();
  return { ...pending, ...Object.fromEntries(ids.map((globalId) => [globalId, { ...pending[globalId]!, turnMs }])) };
}

async function readOn(
  deps: MirrorDeps,
  { peer }: Connection,
  { cursor: from }: PeerState,
): Promise<{ cursor: number; pending: Pending }> {
  const sinceMs = deps.clock.nowMs();
  const pending: Pending = {};
  let cursor = from;
  for (let pages = 0; pages < deps.limits.feedPagesMax; pages++) {
    const page = await peer.feed(cursor);
    for (const { globalId, ...point } of page.records) pending[globalId] = { ...point, sinceMs };
    cursor = page.next;
    if (!page.more) break;
  }
  return { cursor, pending };
}

/** The backstop: every image that either side knows of. Also the way to a new cursor, for one that fell behind the feed's end. */
async function compare(
  deps: MirrorDeps,
  { peer, pool }: Connection,
  { cursor }: PeerState,
): Promise<{ cursor: number; pending: Pending }> {
  const sinceMs = deps.clock.nowMs();
  const theirs = await peer.catalog();
  const ours = await readCatalog(deps, pool.name);
  const globalIds = new Set([...theirs.globalIds, ...Object.keys(ours)]);
  return {
    cursor: Math.max(cursor, theirs.feedNext),
    pending: Object.fromEntries([...globalIds].map((globalId) => [globalId, { sinceMs }])),
  };
}

const beatKey = (pool: string, peerUuid: string): string => `beat ${pool}/${peerUuid}`;

/** When a poll of this process last had the peer's answers; a hint that is gone with the process. */
export function lastContactMs(deps: MirrorDeps, pool: string, peerUuid: string): number | undefined {
  const beatAtMs = recall(deps, beatKey(pool, peerUuid));
  return typeof beatAtMs === 'number' ? beatAtMs : undefined;
}

/** At most every `heartbeatEveryMs`. A peer that cannot take it will see us as down, which is what it is to us. */
async function beat(deps: MirrorDeps, { peer, pool, record }: Connection, cursor: number): Promise<void> {
  const nowMs = deps.clock.nowMs();
  const beatLimits = { ...deps.limits, cacheMs: deps.limits.heartbeatEveryMs };
  await recent({ ...deps, limits: beatLimits }, beatKey(pool.name, record.uuid), async () => {
    const beyond = await heardBeyond(deps, { pool, record });
    await peer.heartbeat({ siteName: pool.mirror.siteName, cursor, ...(beyond && { beyond }) });
    // It never calls us: that it answers is what we know of its life.
    if (!maySend(record))
      await updatePeerState(deps, pool.name, record.uuid, (state) => ({ ...state, seenAtMs: nowMs }));
    return nowMs;
  });
}

/** `isCrowded`: others are waiting that this poll did not come to. */
type Tried = { ids: readonly string[]; isCrowded: boolean };

/** Which of the pending images are settled; the others are sent, or, when that did not help before, synced here. */
async function lookAfter(
  deps: MirrorDeps,
  connection: Connection,
  pending: Pending,
  { before, fresh }: { before: Pending; fresh: ReadonlySet<string> },
): Promise<{ settled: string[]; triedInVain: Tried }> {
  const limit = pLimit(readsMax);
  const inTurn = Object.entries(pending).toSorted(([, a], [, b]) => placeOf(a) - placeOf(b));
  const looked = inTurn.slice(0, deps.limits.pollPendingMax);
  const checked = await Promise.all(
    looked.map(([globalId, entry]) =>
      limit(async () => ({ globalId, settled: await isSettled(deps, connection, globalId, entry) })),
    ),
  );
  const open = checked.filter(({ settled }) => !settled).map(({ globalId }) => globalId);
  const settled = checked.filter((check) => check.settled).map(({ globalId }) => globalId);
  const found = open.filter((globalId) => fresh.has(globalId));
  await sendAll(
    deps,
    found.map((globalId) => syncMessage(connection, globalId)),
  );
  // One whose older news is settled is not behind by more than what was found just now.
  const isNews = async (globalId: string): Promise<boolean> =>
    !before[globalId] || (await isSettled(deps, connection, globalId, before[globalId]));
  const news = await Promise.all(
    found.map((globalId) => limit(async () => ((await isNews(globalId)) ? [globalId] : []))),
  );
  const stuck = open.filter((globalId) => !news.flat().includes(globalId));
  const { tried, done } = await syncHere(deps, connection, stuck);
  const isCrowded = tried.length < stuck.length || looked.length < inTurn.length;
  const inVain = tried.filter((globalId) => !done.includes(globalId));
  return { settled: [...settled, ...done], triedInVain: { ids: inVain, isCrowded } };
}

const syncMessage = ({ pool, record }: Connection, globalId: string): Extract<Message, { type: 'sync' }> => ({
  type: 'sync',
  pool: pool.name,
  peerUuid: record.uuid,
  globalId,
});

async function isSettled(
  deps: MirrorDeps,
  connection: Connection,
  globalId: string,
  { snapId, mirrorUuid = connection.record.mirrorUuid, sinceMs }: Pending[string],
): Promise<boolean> {
  const settledAtMs = recall(
    deps,
    settledKey({ pool: connection.pool.name, peerUuid: connection.record.uuid, globalId }),
  );
  if (typeof settledAtMs === 'number' && settledAtMs > sinceMs) return true;
  if (snapId === undefined) return false;
  const header = (await findImage(deps, connection.pool.name, globalId))?.value;
  if (!header || isDoubled(connection.pool, header, mirrorUuid)) return false;
  return isAt(header, mirrorUuid, snapId);
}

/** Another than us takes snapshots of what we are primary of: it is primary too, and has to hear of us. */
const isDoubled = (pool: Pool, header: Header, mirrorUuid: string): boolean =>
  promotionState(mirrorSnapshots(header)) === 'primary' && mirrorOf(pool, header.namespace)?.mirrorUuid !== mirrorUuid;

/** Our copy is at the peer's snapshot, or beyond; nothing else is asked of it. */
export function isAt(header: Header, mirrorUuid: string, snapId: number): boolean {
  const snapshots = mirrorSnapshots(header);
  const { sync, resyncRequestedAtMs, problem } = header.mirror!;
  if (promotionState(snapshots) === 'primary') return true;
  const newest = snapshots.at(-1)?.namespace;
  const isThere = newest?.primaryMirrorUuid === mirrorUuid && (newest.primarySnapId ?? -1) >= snapId;
  return isThere && !isFlattenDue(header) && (sync ?? resyncRequestedAtMs ?? problem) === undefined;
}

/** One after another, a bounded number; a failing one does not keep the others waiting. */
async function syncHere(
  deps: MirrorDeps,
  connection: Connection,
  globalIds: readonly string[],
): Promise<{ tried: string[]; done: string[] }> {
  const [tried, done]: [string[], string[]] = [[], []];
  const beganAtMs = deps.clock.nowMs();
  for (const globalId of globalIds.slice(0, deps.limits.pollInlineMax)) {
    if (deps.clock.nowMs() - beganAtMs > deps.limits.pollInlineMs) break;
    tried.push(globalId);
    try {
      if ((await syncImage(deps, syncMessage(connection, globalId))) === 'settled') done.push(globalId);
    } catch (error) {
      if (isUnreachable(error)) break;
      // Damage is noted in the image's header (problem.ts); it stays pending.
    }
  }
  return { tried, done };
}

/** Writes only what changed. An image that became pending again meanwhile stays so. */
async function keep(
  deps: MirrorDeps,
  { pool, record }: Connection,
  before: PeerState,
  state: PeerState,
  settled: readonly string[],
): Promise<void> {
  const isQuiet =
    state.cursor === before.cursor &&
    state.comparedAtMs === before.comparedAtMs &&
    settled.length === 0 &&
    samePlaces(state.pending, before.pending);
  if (isQuiet) return;
  await updatePeerState(deps, pool.name, record.uuid, (now) => {
    const pending = { ...now.pending };
    for (const [globalId, entry] of Object.entries(state.pending)) {
      const noted = now.pending[globalId]?.sinceMs;
      const isNewer = noted !== undefined && noted !== before.pending[globalId]?.sinceMs;
      if (isNewer) continue;
      if (settled.includes(globalId)) delete pending[globalId];
      else pending[globalId] = entry;
    }
    return {
      ...now,
      cursor: Math.max(now.cursor, state.cursor),
      comparedAtMs: Math.max(now.comparedAtMs, state.comparedAtMs),
      pending,
    };
  });
}

/** `now` has all of `before`. */
const samePlaces = (now: Pending, before: Pending): boolean =>
  Object.entries(now).every(([globalId, { turnMs }]) => before[globalId] && before[globalId].turnMs === turnMs);
