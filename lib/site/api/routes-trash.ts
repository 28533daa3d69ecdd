// Owns the routes of the trash.

import { createRoute } from '@hono/zod-openapi';

import { listTrash, purgeTrash, removeFromTrash, restoreFromTrash } from '../../image/trash.ts';
import { mirrorByFeature } from '../../mirror/verbs/by-feature.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { trashImage } from '../../mirror/verbs/images.ts';
import { access } from './access.ts';
import { body, done, made, newApi, ok, optionalBody, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['trash'];
const trashPath = '/v1/pools/{pool}/trash';
const entryPath = `${trashPath}/{id}` as const;
const entryRequest = { params: schemas.trashParams, query: schemas.namespaceQuery };

const list = createRoute({
  method: 'get',
  path: trashPath,
  tags,
  summary: 'Images in the trash, what may go first first; with `all`, also those that mirroring put there',
  ...access.client,
  request: { params: schemas.poolParams, query: schemas.trashQuery },
  responses: ok(schemas.trashSchema, 'rbd `trash ls -l`, and where to read on'),
});
const move = createRoute({
  method: 'post',
  path: trashPath,
  tags,
  summary: 'Move an image to the trash; a mirrored primary takes its replicas with it',
  ...access.client,
  request: { params: schemas.poolParams, query: schemas.namespaceQuery, body: body(schemas.moveToTrashBody) },
  responses: made(schemas.idSchema, 'The id by which it can be had back'),
});
const purge = createRoute({
  method: 'post',
  path: `${trashPath}/purge`,
  tags,
  summary: 'Remove a bounded part of what users moved to the trash and what has expired',
  ...access.client,
  request: { params: schemas.poolParams, query: schemas.namespaceQuery, body: optionalBody(schemas.purgeTrashBody) },
  responses: ok(schemas.trashPurgedSchema, 'What went, and what has snapshots'),
});
const remove = createRoute({
  method: 'delete',
  path: entryPath,
  tags,
  summary: 'Remove an image from the trash, before its time with `force`',
  ...access.client,
  request: { params: schemas.trashParams, query: schemas.forceQuery },
  responses: done('Removed; its objects go in the background'),
});
const restore = createRoute({
  method: 'post',
  path: `${entryPath}/restore`,
  tags,
  summary:
    'Give an image in the trash its name back, or another; it is mirrored only where its pool mirrors it for its features',
  ...access.client,
  request: { ...entryRequest, body: optionalBody(schemas.restoreBody) },
  responses: done('Restored'),
});

export function trashRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  const entryOf = ({ pool, id }: { pool: string; id: string }, { namespace }: { namespace: string }) => ({
    pool,
    namespace,
    imageId: id,
  });
  api.openapi(list, async (c) => {
    const { namespace, all, after, limit } = c.req.valid('query');
    const options = { all: schemas.isSet(all), after, limit };
    return c.json(await listTrash(deps, c.req.valid('param').pool, namespace, options), 200);
  });
  api.openapi(move, async (c) => {
    const { image, delaySeconds } = c.req.valid('json');
    const spec = specOf({ pool: c.req.valid('param').pool, image }, c.req.valid('query'));
    return c.json({ id: await trashImage(deps, spec, { delaySeconds }) }, 201);
  });
  api.openapi(purge, async (c) => {
    const { expiredBeforeMs = deps.clock.nowMs(), after } = c.req.valid('json');
    const options = { expiredBeforeMs, after, queue: deps.queue };
    return c.json(await purgeTrash(deps, c.req.valid('param').pool, c.req.valid('query').namespace, options), 200);
  });
  api.openapi(remove, async (c) => {
    const query = c.req.valid('query');
    const options = { force: schemas.isSet(query.force), queue: deps.queue };
    await removeFromTrash(deps, entryOf(c.req.valid('param'), query), options);
    return c.body(null, 204);
  });
  api.openapi(restore, async (c) => {
    const spec = entryOf(c.req.valid('param'), c.req.valid('query'));
    const restored = await restoreFromTrash(deps, spec, c.req.valid('json').name);
    // That it is back does not depend on its being mirrored (by-feature.ts).
    await mirrorByFeature(deps, restored).catch(() => undefined);
    return c.body(null, 204);
  });
  return api;
}
