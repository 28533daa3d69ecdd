// Owns the routes of pools.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import { createPool, listPools, removePool } from '../../mirror/pool.ts';
import { poolRegistry } from '../site-document.ts';
import { access } from './access.ts';
import { body, done, newApi, ok, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['pools'];

const list = createRoute({
  method: 'get',
  path: '/v1/pools',
  tags,
  summary: 'Pools by name',
  ...access.admin,
  responses: ok(schemas.poolsSchema, 'All pools'),
});
const create = createRoute({
  method: 'post',
  path: '/v1/pools',
  tags,
  summary: 'Create a pool',
  ...access.admin,
  request: { body: body(schemas.createPoolBody) },
  responses: done('Created'),
});
const remove = createRoute({
  method: 'delete',
  path: '/v1/pools/{pool}',
  tags,
  summary: 'Remove a pool that has no images and is not mirrored',
  ...access.admin,
  request: { params: schemas.poolParams },
  responses: done('Removed'),
});

export function poolRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  const registry = poolRegistry(deps);
  api.openapi(list, async (c) =>
    c.json(
      (await listPools(registry)).map((name) => ({ name })),
      200,
    ),
  );
  api.openapi(create, async (c) => {
    await createPool(deps, registry, c.req.valid('json').name);
    return c.body(null, 204);
  });
  api.openapi(remove, async (c) => {
    await removePool(deps, registry, c.req.valid('param').pool);
    return c.body(null, 204);
  });
  return api;
}
