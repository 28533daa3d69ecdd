// Owns a tick: what a site does about once a minute without being asked. On an idle site the number of its requests depends
// on pools and peers, not on images (I11). Each part goes on when another fails. A tick may be late, missed, doubled or overlap
// another.
//
// Nothing rests on messages (I4): polls run here, and a few of the snapshots that are due are taken here. A slot counts as due
// since the last tick, so a site that was down catches up, and for three minutes at least, so a lost message is sent again.

import pLimit from 'p-limit';
import type { z } from 'zod';

import { createDocument, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import { keyText } from '../bucket/keys.ts';
import { sendAll } from '../mirror/peers/announce.ts';
import type { MirrorDeps } from '../mirror/deps.ts';
import { walkAll } from '../mirror/verbs/by-feature-walk.ts';
import { handlePoll } from '../mirror/replica/poll.ts';
import { isMirroring, readPool, receives, type Pool } from '../mirror/pool.ts';
import { handlePurge, isPurgeDue } from '../mirror/schedules/purge-schedules.ts';
import {
  mergeSchedules,
  schedulesOf,
  type ScheduleDocument,
  type ScheduleKind,
  type Schedules,
} from '../mirror/schedules/schedule.ts';
import { dueSnapshots, readSchedules } from '../mirror/schedules/schedules.ts';
import { handleSnapshot } from '../mirror/primary/snapshot.ts';
import { heartbeatSchema } from '../mirror/status/status.ts';
import { expireTrash } from '../mirror/verbs/trash.ts';
import { keepHouse } from './housekeeping.ts';
import { readSite } from './site-document.ts';

type Heartbeat = z.infer<typeof heartbeatSchema>;

/** A slot is sent again for so long; taking it twice does nothing. */
const slotGraceMs = 3 * 60 * 1000;
/** Due snapshots of a pool that the tick takes itself, sparing them the queue. */
const snapshotsHereMax = 8;
const poolsAtOnceMax = 8;

export type TickOptions = { nowMs: number; log: (line: string) => void };
type Tick = TickOptions & { sinceMs: number; global: ScheduleDocument };

/** `nowMs`: when the tick was due; the clock decides when it is later. */
export async function tick(deps: MirrorDeps, options: TickOptions): Promise<void> {
  const nowMs = Math.max(options.nowMs, deps.clock.nowMs());
  const last = await readDocument(deps.bucket, keyText({ kind: 'heartbeat' }), heartbeatSchema);
  const { pools } = await readSite(deps);
  const global = await readSchedules(deps, undefined);
  const sinceMs = Math.min(last?.value.tickedAtMs ?? nowMs, nowMs - slotGraceMs);
  const limit = pLimit(poolsAtOnceMax);
  await Promise.all(pools.map((pool) => limit(() => tickPool(deps, pool, { ...options, nowMs, sinceMs, global }))));
  await guarded(options, 'housekeeping', () => keepHouse(deps));
  // After the work: a tick that dies leaves its slots to the next.
  await beat(deps, last);
}

async function tickPool(deps: MirrorDeps, name: string, options: Tick): Promise<void> {
  await guarded(options, `reading pool '${name}'`, async () => {
    const { value: pool } = await readPool(deps, name);
    await guarded(options, `trash of pool '${name}'`, () => expireTrash(deps, pool));
    await Promise.all([
      followSchedules(deps, pool, options),
      isMirroring(pool) ? pollPeers(deps, pool, options) : undefined,
      guarded(options, `images with features in pool '${name}'`, () => walkAll(deps, pool)),
    ]);
  });
}

async function followSchedules(deps: MirrorDeps, pool: Pool, options: Tick): Promise<void> {
  await guarded(options, `schedules of pool '${pool.name}'`, async () => {
    const own = await readSchedules(deps, pool.name);
    const of = (kind: ScheduleKind): Schedules =>
      mergeSchedules(schedulesOf(options.global, kind), schedulesOf(own, kind));
    await guarded(options, `purge of pool '${pool.name}'`, () => purgeDue(deps, pool.name, of('purge'), options));
    if (isMirroring(pool)) await takeDue(deps, pool.name, of('snapshot'), options);
  });
}

async function purgeDue(deps: MirrorDeps, pool: string, schedules: Schedules, options: Tick): Promise<void> {
  if (isPurgeDue(schedules, options)) await handlePurge(deps, { type: 'purge', pool, dueMs: options.nowMs });
}

/** Messages first: what the tick then takes itself may take a while. */
async function takeDue(deps: MirrorDeps, pool: string, schedules: Schedules, options: Tick): Promise<void> {
  const due = await dueSnapshots(deps, pool, schedules, options);
  await sendAll(deps, due.slice(snapshotsHereMax));
  for (const message of due.slice(0, snapshotsHereMax)) {
    await guarded(options, `scheduled snapshot of image ${message.imageId}`, () => handleSnapshot(deps, message));
  }
}

async function pollPeers(deps: MirrorDeps, pool: Pool, options: Tick): Promise<void> {
  for (const peer of pool.peers.filter(receives)) {
    await guarded(options, `poll of peer '${peer.siteName}'`, () =>
      handlePoll(deps, { pool: pool.name, peerUuid: peer.uuid }),
    );
  }
}

async function guarded(options: TickOptions, what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    options.log(`tick: ${what} failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** A lost race is another tick's beat. */
async function beat(deps: MirrorDeps, last: Stored<Heartbeat> | undefined): Promise<void> {
  const value: Heartbeat = { tickedAtMs: deps.clock.nowMs() };
  if (last) await replaceDocument(deps.bucket, last, value, deps.random);
  else await createDocument(deps.bucket, keyText({ kind: 'heartbeat' }), value, deps.random);
}
