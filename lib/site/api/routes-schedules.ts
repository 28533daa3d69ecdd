// Owns the routes of schedules: of mirror snapshots, and of purges of the trash, which differ in their address and in what is due. The
// level is in the query: nothing (the whole site), pool, namespace, and an image of mirror snapshots.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import { purgeStatus } from '../../mirror/schedules/purge-schedules.ts';
import type { ScheduleKind } from '../../mirror/schedules/schedule.ts';
import {
  addSchedule,
  listScheduleLevels,
  listSchedules,
  removeSchedule,
  scheduleStatus,
} from '../../mirror/schedules/schedules.ts';
import { readSite } from '../site-document.ts';
import { access } from './access.ts';
import { body, done, newApi, ok, type Api } from './routing.ts';
import * as schemas from './schemas.ts';
import { purgeStatusSchema, scheduleStatusSchema, schedulesSchema } from './status-schemas.ts';

const tags = ['schedules'];
const pathOf = { snapshot: '/v1/schedules', purge: '/v1/purge-schedules' } as const satisfies Record<
  ScheduleKind,
  string
>;
const wordsOf: Record<ScheduleKind, string> = { snapshot: 'mirror snapshot schedule', purge: 'trash purge schedule' };

const list = (of: ScheduleKind) =>
  createRoute({
    method: 'get',
    path: pathOf[of],
    tags,
    summary: 'Schedules of a level; with `recursive`, of all levels at and below it',
    ...access.level,
    request: { query: schemas.listScheduleQuery },
    responses: ok(schedulesSchema, `rbd \`${wordsOf[of]} ls\``),
  });
const add = (of: ScheduleKind) =>
  createRoute({
    method: 'post',
    path: pathOf[of],
    tags,
    summary: 'Add a schedule to a level',
    ...access.level,
    request: { query: schemas.levelQuery, body: body(schemas.scheduleBody) },
    responses: done('Added'),
  });
const remove = (of: ScheduleKind) =>
  createRoute({
    method: 'delete',
    path: pathOf[of],
    tags,
    summary: 'Remove one schedule of a level, or without `interval` all',
    ...access.level,
    request: { query: schemas.removeScheduleQuery },
    responses: done('Removed'),
  });
const snapshotStatus = createRoute({
  method: 'get',
  path: `${pathOf.snapshot}/status`,
  tags,
  summary: 'When mirror snapshots are due next',
  ...access.level,
  request: { query: schemas.levelQuery },
  responses: ok(scheduleStatusSchema, 'rbd `mirror snapshot schedule status`'),
});
const nextPurges = createRoute({
  method: 'get',
  path: `${pathOf.purge}/status`,
  tags,
  summary: 'When purges of the trash are due next',
  ...access.level,
  request: { query: schemas.levelQuery },
  responses: ok(purgeStatusSchema, 'rbd `trash purge schedule status`'),
});

export function scheduleRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  for (const kind of ['snapshot', 'purge'] as const) addRoutes(api, deps, kind);
  api.openapi(snapshotStatus, async (c) =>
    c.json(await scheduleStatus(deps, c.req.valid('query'), (await readSite(deps)).pools), 200),
  );
  api.openapi(nextPurges, async (c) =>
    c.json(await purgeStatus(deps, c.req.valid('query'), (await readSite(deps)).pools), 200),
  );
  return api;
}

function addRoutes(api: Api, deps: MirrorDeps, of: ScheduleKind): void {
  api.openapi(list(of), async (c) => {
    const { recursive, ...level } = c.req.valid('query');
    const target = { ...level, of };
    if (!schemas.isSet(recursive)) return c.json(await listSchedules(deps, target), 200);
    return c.json(await listScheduleLevels(deps, target, (await readSite(deps)).pools), 200);
  });
  api.openapi(add(of), async (c) => {
    const { interval, startTime } = c.req.valid('json');
    await addSchedule(deps, { ...c.req.valid('query'), of }, interval, startTime);
    return c.body(null, 204);
  });
  api.openapi(remove(of), async (c) => {
    const { interval, startTime, ...level } = c.req.valid('query');
    await removeSchedule(deps, { ...level, of }, interval, startTime);
    return c.body(null, 204);
  });
}
