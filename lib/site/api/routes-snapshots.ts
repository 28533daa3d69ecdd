// Owns the routes of user snapshots. Handlers translate; lib/image decides.

import { createRoute } from '@hono/zod-openapi';

import {
  createSnapshot,
  listSnapshots,
  protectSnapshot,
  purgeSnapshots,
  removeSnapshot,
  renameSnapshot,
  rollbackSnapshot,
  unprotectSnapshot,
} from '../../image/snapshots.ts';
import { setSnapshotLimit } from '../../image/snapshot-limit.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { access } from './access.ts';
import { body, done, made, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['snapshots'];
const snapsPath = '/v1/pools/{pool}/images/{image}/snaps';
const snapPath = `${snapsPath}/{snap}` as const;

const { imageParams, imageQuery, namespaceQuery, snapParams } = schemas;

const list = createRoute({
  method: 'get',
  path: snapsPath,
  tags,
  summary: 'User snapshots; with `all`, mirror snapshots too',
  ...access.client,
  request: { params: imageParams, query: schemas.snapsQuery },
  responses: ok(schemas.snapshotsSchema, 'rbd `snap ls`, oldest first'),
});
const create = createRoute({
  method: 'post',
  path: snapsPath,
  tags,
  summary: 'Create a snapshot',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery, body: body(schemas.createSnapBody) },
  responses: made(schemas.snapIdSchema, 'The new snapshot'),
});
const purge = createRoute({
  method: 'delete',
  path: snapsPath,
  tags,
  summary: 'Remove every snapshot that is not protected',
  ...access.client,
  request: { params: imageParams, query: imageQuery },
  responses: ok(schemas.purgedSchema, 'What went, and what is protected'),
});
const change = createRoute({
  method: 'patch',
  path: snapPath,
  tags,
  summary: 'Rename, protect or unprotect a snapshot',
  ...access.client,
  request: { params: snapParams, query: imageQuery, body: body(schemas.changeSnapBody) },
  responses: done('Changed'),
});
const remove = createRoute({
  method: 'delete',
  path: snapPath,
  tags,
  summary: 'Remove a snapshot',
  ...access.client,
  request: { params: snapParams, query: imageQuery },
  responses: done('Removed'),
});
const rollback = createRoute({
  method: 'post',
  path: `${snapPath}/rollback`,
  tags,
  summary: 'Bring the image back to a snapshot',
  ...access.client,
  request: { params: snapParams, query: namespaceQuery },
  responses: done('Rolled back'),
});

const rollbackToId = createRoute({
  method: 'post',
  path: '/v1/pools/{pool}/images/{image}/rollback',
  tags,
  summary: 'Bring the image back to any snapshot, by its id: to a mirror snapshot that retention kept, too',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery, body: body(schemas.snapIdSchema) },
  responses: done('Rolled back'),
});

const limitPath = '/v1/pools/{pool}/images/{image}/snapshot-limit';
const setLimit = createRoute({
  method: 'put',
  path: limitPath,
  tags,
  summary: 'Limit the number of user snapshots',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery, body: body(schemas.snapshotLimitBody) },
  responses: done('Set'),
});
const clearLimit = createRoute({
  method: 'delete',
  path: limitPath,
  tags,
  summary: 'Take the limit of user snapshots away',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery },
  responses: done('Cleared'),
});

export function snapshotRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(list, async (c) => {
    const query = c.req.valid('query');
    return c.json(
      await listSnapshots(deps, specOf(c.req.valid('param'), query), { all: schemas.isSet(query.all) }),
      200,
    );
  });
  api.openapi(create, async (c) => {
    const { name, quiesce = 'required' } = c.req.valid('json');
    const id = await createSnapshot(deps, specOf(c.req.valid('param'), c.req.valid('query')), name, { quiesce });
    return c.json({ id }, 201);
  });
  api.openapi(purge, async (c) =>
    c.json(await purgeSnapshots(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(change, async (c) => {
    const params = c.req.valid('param');
    const spec = specOf(params, c.req.valid('query'));
    const { name, protected: isProtected } = c.req.valid('json');
    if (name !== undefined) await renameSnapshot(deps, spec, params.snap, name);
    else await (isProtected === true ? protectSnapshot : unprotectSnapshot)(deps, spec, params.snap);
    return c.body(null, 204);
  });
  api.openapi(remove, async (c) => {
    const params = c.req.valid('param');
    await removeSnapshot(deps, specOf(params, c.req.valid('query')), params.snap);
    return c.body(null, 204);
  });
  api.openapi(setLimit, async (c) => {
    await setSnapshotLimit(deps, specOf(c.req.valid('param'), c.req.valid('query')), c.req.valid('json').limit);
    return c.body(null, 204);
  });
  api.openapi(clearLimit, async (c) => {
    await setSnapshotLimit(deps, specOf(c.req.valid('param'), c.req.valid('query')), undefined);
    return c.body(null, 204);
  });
  api.openapi(rollbackToId, async (c) => {
    await rollbackSnapshot(deps, specOf(c.req.valid('param'), c.req.valid('query')), c.req.valid('json'));
    return c.body(null, 204);
  });
  api.openapi(rollback, async (c) => {
    const params = c.req.valid('param');
    await rollbackSnapshot(deps, specOf(params, c.req.valid('query')), params.snap);
    return c.body(null, 204);
  });
  return api;
}
