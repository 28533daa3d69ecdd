// Owns the routes of pools and namespaces.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import { createNamespace, listNamespaces, removeNamespace } from '../../mirror/namespace.ts';
import { createPool, listPools, removePool } from '../../mirror/pool.ts';
import { dropKept } from '../../mirror/verbs/trash.ts';
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

const listOfPool = createRoute({
  method: 'get',
  path: '/v1/pools/{pool}/namespaces',
  tags,
  summary: 'Namespaces of a pool by name, without the default one',
  ...access.client,
  request: { params: schemas.poolParams },
  responses: ok(schemas.namespacesSchema, 'rbd `namespace ls`'),
});
const createInPool = createRoute({
  method: 'post',
  path: '/v1/pools/{pool}/namespaces',
  tags,
  summary: 'Create a namespace',
  ...access.client,
  request: { params: schemas.poolParams, body: body(schemas.createNamespaceBody) },
  responses: done('Created'),
});
const removeFromPool = createRoute({
  method: 'delete',
  path: '/v1/pools/{pool}/namespaces/{namespace}',
  tags,
  summary: 'Remove a namespace that has no images and is not mirrored',
  ...access.client,
  request: { params: schemas.namespaceParams },
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
    const { pool } = c.req.valid('param');
    await dropKept(deps, pool);
    await removePool(deps, registry, pool);
    return c.body(null, 204);
  });
  api.openapi(listOfPool, async (c) => {
    const names = await listNamespaces(deps, c.req.valid('param').pool);
    return c.json(
      names.map((name) => ({ name })),
      200,
    );
  });
  api.openapi(createInPool, async (c) => {
    await createNamespace(deps, c.req.valid('param').pool, c.req.valid('json').name);
    return c.body(null, 204);
  });
  api.openapi(removeFromPool, async (c) => {
    const { pool, namespace } = c.req.valid('param');
    await dropKept(deps, pool, namespace);
    await removeNamespace(deps, pool, namespace);
    return c.body(null, 204);
  });
  return api;
}
