// Owns the routes of who uses an image: advisory locks, and those who have it open. Handlers translate; lib/image decides.

import { createRoute, z } from '@hono/zod-openapi';

import { addLock, imageStatus, listLocks, lockTextMax, removeLock } from '../../image/locks.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { access } from './access.ts';
import { body, done, made, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['images'];
const imagePath = '/v1/pools/{pool}/images/{image}';
const locksPath = `${imagePath}/locks` as const;
const { imageParams, namespaceQuery } = schemas;
const imageRequest = { params: imageParams, query: namespaceQuery };

const text = (example: string) =>
  z
    .string()
    .min(1)
    .max(lockTextMax)
    .regex(/^\P{Cc}*$/u, 'control characters')
    .openapi({ example });
const lockerText = text('client.4277');

const locksSchema = z
  .object({
    type: z.enum(['exclusive', 'shared']).optional(),
    tag: z.string().optional(),
    lockers: z.array(z.object({ id: z.string(), locker: z.string(), address: z.string() })),
  })
  .openapi('Locks');
const addLockBody = z
  .object({
    id: text('backup'),
    tag: text('readers').optional().openapi({ description: 'Shared, with all that say the same tag.' }),
    locker: lockerText.optional().openapi({ description: 'Drawn when left out.' }),
    address: text('10.0.0.7:0/4277').optional(),
  })
  .openapi('AddLock');
const statusSchema = z
  .object({ watchers: z.array(z.object({ address: z.string(), client: z.number(), cookie: z.number() })) })
  .openapi('Watchers');

const status = createRoute({
  method: 'get',
  path: `${imagePath}/status`,
  tags,
  summary: 'Who has an image open',
  ...access.client,
  request: imageRequest,
  responses: ok(statusSchema, 'rbd `status`'),
});
const list = createRoute({
  method: 'get',
  path: locksPath,
  tags,
  summary: 'Locks of an image',
  ...access.client,
  request: imageRequest,
  responses: ok(locksSchema, 'Who holds them'),
});
const add = createRoute({
  method: 'post',
  path: locksPath,
  tags,
  summary: 'Take an advisory lock of an image: it keeps nobody from writing',
  ...access.client,
  request: { ...imageRequest, body: body(addLockBody) },
  responses: made(z.object({ locker: z.string() }).openapi('Locker'), 'Who holds it'),
});
const remove = createRoute({
  method: 'delete',
  path: `${locksPath}/{lock}`,
  tags,
  summary: 'Release an advisory lock, one’s own or another’s',
  ...access.client,
  request: {
    params: imageParams.extend({ lock: text('backup') }),
    query: namespaceQuery.extend({ locker: lockerText }),
  },
  responses: done('Released'),
});

export function lockRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(status, async (c) =>
    c.json(await imageStatus(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(list, async (c) => {
    const locks = await listLocks(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.json(locks ?? { lockers: [] }, 200);
  });
  api.openapi(add, async (c) => {
    const spec = specOf(c.req.valid('param'), c.req.valid('query'));
    return c.json({ locker: await addLock(deps, spec, c.req.valid('json')) }, 201);
  });
  api.openapi(remove, async (c) => {
    const params = c.req.valid('param');
    const { locker, ...query } = c.req.valid('query');
    await removeLock(deps, specOf(params, query), { id: params.lock, locker });
    return c.body(null, 204);
  });
  return api;
}
