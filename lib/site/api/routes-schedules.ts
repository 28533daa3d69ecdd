// Owns the routes of snapshot schedules. The level is in the query: nothing (the whole site), pool, namespace, image.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import {
  addSchedule,
  listScheduleLevels,
  listSchedules,
  removeSchedule,
  scheduleStatus,
} from '../../mirror/schedules.ts';
import { readSite } from '../site-document.ts';
import { access } from './access.ts';
import { body, done, newApi, ok, type Api } from './routing.ts';
import * as schemas from './schemas.ts';
import { scheduleStatusSchema, schedulesSchema } from './status-schemas.ts';

const tags = ['schedules'];
const path = '/v1/schedules';

const list = createRoute({
  method: 'get',
  path,
  tags,
  summary: 'Schedules of a level; with `recursive`, of all levels at and below it',
  ...access.level,
  request: { query: schemas.listScheduleQuery },
  responses: ok(schedulesSchema, 'rbd `mirror snapshot schedule ls`'),
});
const add = createRoute({
  method: 'post',
  path,
  tags,
  summary: 'Add a schedule to a level',
  ...access.level,
  request: { query: schemas.levelQuery, body: body(schemas.scheduleBody) },
  responses: done('Added'),
});
const remove = createRoute({
  method: 'delete',
  path,
  tags,
  summary: 'Remove one schedule of a level, or without `interval` all',
  ...access.level,
  request: { query: schemas.removeScheduleQuery },
  responses: done('Removed'),
});
const status = createRoute({
  method: 'get',
  path: `${path}/status`,
  tags,
  summary: 'When mirror snapshots are due next',
  ...access.level,
  request: { query: schemas.levelQuery },
  responses: ok(scheduleStatusSchema, 'rbd `mirror snapshot schedule status`'),
});

export function scheduleRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(list, async (c) => {
    const { recursive, ...level } = c.req.valid('query');
    if (!schemas.isSet(recursive)) return c.json(await listSchedules(deps, level), 200);
    return c.json(await listScheduleLevels(deps, level, (await readSite(deps)).pools), 200);
  });
  api.openapi(add, async (c) => {
    const { interval, startTime } = c.req.valid('json');
    await addSchedule(deps, c.req.valid('query'), interval, startTime);
    return c.body(null, 204);
  });
  api.openapi(remove, async (c) => {
    const { interval, startTime, ...level } = c.req.valid('query');
    await removeSchedule(deps, level, interval, startTime);
    return c.body(null, 204);
  });
  api.openapi(status, async (c) =>
    c.json(await scheduleStatus(deps, c.req.valid('query'), (await readSite(deps)).pools), 200),
  );
  return api;
}
