// Owns the routes of mirroring: pools, peers, and the verbs on images. Handlers translate; lib/mirror decides.

import { createRoute } from '@hono/zod-openapi';

import { openHeader } from '../../image/access.ts';
import { newRun } from '../../image/collect.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  promoteImage,
  resyncImage,
} from '../../mirror/images.ts';
import { createBootstrapToken, importBootstrapToken, removePeer } from '../../mirror/peer.ts';
import { disablePool, enablePool, poolInfo } from '../../mirror/pool.ts';
import { access } from './access.ts';
import { body, defaultNamespace, done, made, newApi, ok, optionalBody, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';
import { poolInfoSchema } from './status-schemas.ts';

const tags = ['mirroring'];
const poolPath = '/v1/pools/{pool}/mirror';
const imagePath = '/v1/pools/{pool}/images/{image}';
const verbPath = `${imagePath}/mirror` as const;

const { imageParams, namespaceQuery, poolParams } = schemas;
const poolRequest = { params: poolParams, query: namespaceQuery };
const imageRequest = { params: imageParams, query: namespaceQuery };

const showPool = createRoute({
  method: 'get',
  path: poolPath,
  tags,
  summary: "A pool's mode and peers",
  ...access.client,
  request: { params: poolParams, query: schemas.snapsQuery },
  responses: ok(poolInfoSchema, 'rbd `mirror pool info`'),
});
const enable = createRoute({
  method: 'put',
  path: poolPath,
  tags,
  summary: 'Enable mirroring of a pool, or switch its mode',
  ...access.admin,
  request: { ...poolRequest, body: body(schemas.enablePoolBody) },
  responses: ok(schemas.enabledSchema, 'What changed'),
});
const disable = createRoute({
  method: 'delete',
  path: poolPath,
  tags,
  summary: 'Disable mirroring of a pool that has no peers and no mirrored images',
  ...access.admin,
  request: poolRequest,
  responses: ok(schemas.disabledSchema, 'Whether it was enabled'),
});
const bootstrap = createRoute({
  method: 'post',
  path: `${poolPath}/bootstrap`,
  tags,
  summary: 'Make a token with which another site becomes a peer',
  ...access.admin,
  request: { ...poolRequest, body: optionalBody(schemas.bootstrapBody) },
  responses: made(schemas.bootstrapSchema, 'The token; it is a secret'),
});
const importToken = createRoute({
  method: 'post',
  path: `${poolPath}/bootstrap/import`,
  tags,
  summary: 'Become a peer of the site that made the token',
  ...access.admin,
  request: { ...poolRequest, body: body(schemas.importBody) },
  responses: made(schemas.uuidSchema, "The peer's uuid here"),
});
const forgetPeer = createRoute({
  method: 'delete',
  path: `${poolPath}/peers/{uuid}`,
  tags,
  summary: 'Forget a peer',
  ...access.admin,
  request: { params: schemas.peerUuidParams, query: namespaceQuery },
  responses: done('Forgotten'),
});

function addPoolRoutes(api: Api, deps: MirrorDeps): void {
  api.openapi(showPool, async (c) => {
    const query = c.req.valid('query');
    defaultNamespace(query);
    return c.json(await poolInfo(deps, c.req.valid('param').pool, { all: schemas.isSet(query.all) }), 200);
  });
  api.openapi(enable, async (c) => {
    defaultNamespace(c.req.valid('query'));
    const { mode, siteName, remoteNamespace } = c.req.valid('json');
    defaultNamespace({ namespace: remoteNamespace ?? '' });
    return c.json(await enablePool(deps, c.req.valid('param').pool, mode, { siteName }), 200);
  });
  api.openapi(disable, async (c) => {
    defaultNamespace(c.req.valid('query'));
    return c.json({ outcome: await disablePool(deps, c.req.valid('param').pool) }, 200);
  });
  api.openapi(bootstrap, async (c) => {
    defaultNamespace(c.req.valid('query'));
    return c.json({ token: await createBootstrapToken(deps, c.req.valid('param').pool, c.req.valid('json')) }, 201);
  });
  api.openapi(importToken, async (c) => {
    defaultNamespace(c.req.valid('query'));
    const { token, ...options } = c.req.valid('json');
    return c.json({ uuid: await importBootstrapToken(deps, c.req.valid('param').pool, token, options) }, 201);
  });
  api.openapi(forgetPeer, async (c) => {
    defaultNamespace(c.req.valid('query'));
    const { pool, uuid } = c.req.valid('param');
    await removePeer(deps, pool, uuid);
    return c.body(null, 204);
  });
}

const enableMirror = createRoute({
  method: 'post',
  path: verbPath,
  tags,
  summary: 'Mirror an image',
  ...access.client,
  request: { ...imageRequest, body: optionalBody(schemas.enableImageBody) },
  responses: done('Mirrored'),
});
const disableMirror = createRoute({
  method: 'delete',
  path: verbPath,
  tags,
  summary: 'Mirror an image no more; on a primary its replicas are removed',
  ...access.client,
  request: { params: imageParams, query: schemas.forceQuery },
  responses: done('Not mirrored'),
});
const promote = createRoute({
  method: 'post',
  path: `${verbPath}/promote`,
  tags,
  summary: 'Make the copy here primary',
  ...access.client,
  request: { ...imageRequest, body: optionalBody(schemas.promoteBody) },
  responses: done('Primary'),
});
const demote = createRoute({
  method: 'post',
  path: `${verbPath}/demote`,
  tags,
  summary: 'Make the primary read-only, so that another site can take over',
  ...access.client,
  request: imageRequest,
  responses: done('Demoted'),
});
const resync = createRoute({
  method: 'post',
  path: `${verbPath}/resync`,
  tags,
  summary: "Replace the copy here by the primary's, keeping what would be lost as a snapshot",
  ...access.client,
  request: imageRequest,
  responses: done('Flagged; it happens in the background'),
});
const snapshot = createRoute({
  method: 'post',
  path: `${verbPath}/snapshot`,
  tags,
  summary: 'Take a mirror snapshot now',
  ...access.client,
  request: imageRequest,
  responses: made(schemas.snapIdSchema, 'The new mirror snapshot'),
});
const collect = createRoute({
  method: 'post',
  path: `${imagePath}/collect`,
  tags: ['images'],
  summary: 'Delete data that nothing reaches any more, in the background',
  ...access.client,
  request: imageRequest,
  responses: made(schemas.runSchema, 'The run that was started'),
});

export function mirrorRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  addPoolRoutes(api, deps);
  addSwitchRoutes(api, deps);
  api.openapi(demote, async (c) => {
    await demoteImage(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.body(null, 204);
  });
  api.openapi(resync, async (c) => {
    await resyncImage(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.body(null, 204);
  });
  api.openapi(snapshot, async (c) => {
    return c.json({ id: await createMirrorSnapshot(deps, specOf(c.req.valid('param'), c.req.valid('query'))) }, 201);
  });
  api.openapi(collect, async (c) => {
    const { imageId } = (await openHeader(deps, specOf(c.req.valid('param'), c.req.valid('query')))).value;
    const run = newRun(deps);
    await deps.queue.send([{ type: 'collect', imageId, run, step: 0 }]);
    return c.json({ run }, 201);
  });
  return api;
}

/** The verbs with options. */
function addSwitchRoutes(api: Api, deps: MirrorDeps): void {
  api.openapi(enableMirror, async (c) => {
    await enableImage(deps, specOf(c.req.valid('param'), c.req.valid('query')), c.req.valid('json').mode);
    return c.body(null, 204);
  });
  api.openapi(disableMirror, async (c) => {
    const query = c.req.valid('query');
    await disableImage(deps, specOf(c.req.valid('param'), query), { force: schemas.isSet(query.force) });
    return c.body(null, 204);
  });
  api.openapi(promote, async (c) => {
    const { force } = schemas.promoteBody.parse(c.req.valid('json')); // without a body nothing was parsed yet
    await promoteImage(deps, specOf(c.req.valid('param'), c.req.valid('query')), { force });
    return c.body(null, 204);
  });
}
