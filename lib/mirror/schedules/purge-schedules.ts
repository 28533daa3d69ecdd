// Owns the scheduled purges of the trash: what is due, and what the next slots are. How schedules are stored and changed is in
// schedules.ts, what a purge does in lib/image/trash.ts.
//
// What had expired when the newest slot of its namespace came, goes. That depends on nothing else, so it may be done again, late, or
// by two at once.

import { FarsideError } from '../../errors.ts';
import { purgeNamespaces } from '../../image/trash.ts';
import type { MirrorDeps } from '../deps.ts';
import type { DocumentDeps } from '../limits.ts';
import type { Message, Outcome } from '../messages.ts';
import { listNamespaces } from '../namespace.ts';
import { itemsFor, latestSlotMs, mergeSchedules, nextSlotMs, schedulesOf } from './schedule.ts';
import type { ScheduleLevel, Schedules } from './schedule.ts';
import { readSchedules, storedSpec, timeText } from './schedules.ts';

export type PurgeMessage = Extract<Message, { type: 'purge' }>;

/** Whether a slot of any level fell due after `sinceMs`. `schedules`: those of the site and of one pool. */
export const isPurgeDue = (schedules: Schedules, { sinceMs, nowMs }: { sinceMs: number; nowMs: number }): boolean =>
  Object.values(schedules.levels).some((items) => (latestSlotMs(items, nowMs) ?? -Infinity) > sinceMs);

/** One bounded part of a pool's purge; the rest by a message. */
export async function handlePurge(deps: MirrorDeps, message: PurgeMessage): Promise<Outcome> {
  const { pool, dueMs, after } = message;
  const schedules = await readPurges(deps, pool);
  const rule = {
    endMs: dueMs,
    expiredBeforeMs: (namespace: string) => latestSlotMs(itemsFor(schedules, { pool, namespace }), dueMs),
    after,
    queue: deps.queue,
  };
  const { next } = await purgeNamespaces(deps, pool, rule).catch(absentPool);
  if (next !== undefined) await deps.queue.send([{ ...message, after: next }]);
  return { kind: 'ack' };
}

/** It was deleted meanwhile, with its trash. */
function absentPool(error: unknown): { next?: string } {
  if (error instanceof FarsideError && error.code === 'ENOENT') return {};
  throw error;
}

const readPurges = async (deps: DocumentDeps, pool: string): Promise<Schedules> =>
  mergeSchedules(
    schedulesOf(await readSchedules(deps, undefined), 'purge'),
    schedulesOf(await readSchedules(deps, pool), 'purge'),
  );

export type PurgeStatus = { pool: string; namespace: string; schedule_time: string };

/** `trash purge schedule status`: when each namespace at or below the level is due next. */
export async function purgeStatus(
  deps: DocumentDeps,
  level: ScheduleLevel,
  pools: readonly string[],
): Promise<PurgeStatus[]> {
  await storedSpec(deps, { ...level, of: 'purge' });
  const wanted = level.pool === undefined ? pools : [level.pool];
  const rows = await Promise.all(wanted.toSorted().map((pool) => poolStatus(deps, pool)));
  return rows.flat().filter(({ namespace }) => level.namespace === undefined || namespace === level.namespace);
}

async function poolStatus(deps: DocumentDeps, pool: string): Promise<PurgeStatus[]> {
  const schedules = await readPurges(deps, pool);
  if (Object.keys(schedules.levels).length === 0) return [];
  const nowMs = deps.clock.nowMs();
  return ['', ...(await listNamespaces(deps, pool))].flatMap((namespace) => {
    const dueMs = nextSlotMs(itemsFor(schedules, { pool, namespace }), nowMs);
    return dueMs === undefined ? [] : [{ pool, namespace, schedule_time: timeText(dueMs) }];
  });
}
