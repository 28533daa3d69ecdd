// Owns the routes of mirroring of pools and namespaces: modes, peers. Handlers translate; lib/mirror decides.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import { createBootstrapToken, importBootstrapToken } from '../../mirror/peers/peer.ts';
import { addPeer, removePeer, setPeer } from '../../mirror/peers/peer-verbs.ts';
import { poolInfo } from '../../mirror/verbs/pool-info.ts';
import { disablePool, enablePool } from '../../mirror/verbs/pool-mode.ts';
import { demotePool, promotePool } from '../../mirror/verbs/pool-roles.ts';
import { access } from './access.ts';
import { body, done, made, newApi, ok, optionalBody, type Api } from './routing.ts';
import * as schemas from './schemas.ts';
import { poolInfoSchema } from './status-schemas.ts';

const tags = ['mirroring'];
const path = '/v1/pools/{pool}/mirror';
const poolRequest = { params: schemas.poolParams, query: schemas.namespaceQuery };
/** Peers belong to the pool. */
const wholePoolRequest = { params: schemas.poolParams };

const showPool = createRoute({
  method: 'get',
  path,
  tags,
  summary: "A pool's mode and peers, or a namespace's mode",
  ...access.client,
  request: { params: schemas.poolParams, query: schemas.snapsQuery },
  responses: ok(poolInfoSchema, 'rbd `mirror pool info`'),
});
const enable = createRoute({
  method: 'put',
  path,
  tags,
  summary: 'Enable mirroring of a pool, or switch its mode',
  ...access.admin,
  request: { ...poolRequest, body: body(schemas.enablePoolBody) },
  responses: ok(schemas.enabledSchema, 'What changed'),
});
const disable = createRoute({
  method: 'delete',
  path,
  tags,
  summary: 'Disable mirroring of a pool that has no peers, or of a namespace, without mirrored images',
  ...access.admin,
  request: poolRequest,
  responses: ok(schemas.disabledSchema, 'Whether it was enabled'),
});
const bootstrap = createRoute({
  method: 'post',
  path: `${path}/bootstrap`,
  tags,
  summary: 'Make a token with which another site becomes a peer',
  ...access.admin,
  request: { ...wholePoolRequest, body: optionalBody(schemas.bootstrapBody) },
  responses: made(schemas.bootstrapSchema, 'The token; it is a secret'),
});
const importToken = createRoute({
  method: 'post',
  path: `${path}/bootstrap/import`,
  tags,
  summary: 'Become a peer of the site that made the token',
  ...access.admin,
  request: { ...wholePoolRequest, body: body(schemas.importBody) },
  responses: made(schemas.uuidSchema, "The peer's uuid here"),
});
const add = createRoute({
  method: 'post',
  path: `${path}/peers`,
  tags,
  summary: 'Add a peer by name; with its URL and one of its bootstrap keys it mirrors at once',
  ...access.admin,
  request: { ...wholePoolRequest, body: body(schemas.addPeerBody) },
  responses: made(schemas.uuidSchema, "The peer's uuid here"),
});
const set = createRoute({
  method: 'patch',
  path: `${path}/peers/{uuid}`,
  tags,
  summary: 'Change one property of a peer',
  ...access.admin,
  request: { params: schemas.peerUuidParams, body: body(schemas.setPeerBody) },
  responses: done('Changed'),
});
const forgetPeer = createRoute({
  method: 'delete',
  path: `${path}/peers/{uuid}`,
  tags,
  summary: 'Forget a peer',
  ...access.admin,
  request: { params: schemas.peerUuidParams },
  responses: done('Forgotten'),
});

const promote = createRoute({
  method: 'post',
  path: `${path}/promote`,
  tags,
  summary: 'Make the copies here of all mirrored images primary',
  ...access.client,
  request: { ...poolRequest, body: optionalBody(schemas.promotePoolBody) },
  responses: ok(schemas.poolRolesSchema, 'How many were promoted, and which failed'),
});
const demote = createRoute({
  method: 'post',
  path: `${path}/demote`,
  tags,
  summary: 'Demote all mirrored images that are primary here',
  ...access.client,
  request: { ...poolRequest, body: optionalBody(schemas.demotePoolBody) },
  responses: ok(schemas.poolRolesSchema, 'How many were demoted, and which failed'),
});

export function mirrorPoolRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(showPool, async (c) => {
    const { namespace, all } = c.req.valid('query');
    const options = { namespace, all: schemas.isSet(all), showKeys: c.get('principal').kind === 'admin' };
    return c.json(await poolInfo(deps, c.req.valid('param').pool, options), 200);
  });
  api.openapi(enable, async (c) => {
    const { mode, ...options } = c.req.valid('json');
    const { namespace } = c.req.valid('query');
    return c.json(await enablePool(deps, c.req.valid('param').pool, mode, { ...options, namespace }), 200);
  });
  api.openapi(disable, async (c) =>
    c.json({ outcome: await disablePool(deps, c.req.valid('param').pool, c.req.valid('query')) }, 200),
  );
  api.openapi(bootstrap, async (c) =>
    c.json({ token: await createBootstrapToken(deps, c.req.valid('param').pool, c.req.valid('json')) }, 201),
  );
  api.openapi(importToken, async (c) => {
    const { token, ...options } = c.req.valid('json');
    return c.json({ uuid: await importBootstrapToken(deps, c.req.valid('param').pool, token, options) }, 201);
  });
  api.openapi(add, async (c) => {
    const { cluster, client, monHost, ...options } = c.req.valid('json');
    const peer = { ...options, siteName: cluster, clientName: client, url: monHost };
    return c.json({ uuid: await addPeer(deps, c.req.valid('param').pool, peer) }, 201);
  });
  api.openapi(set, async (c) => {
    const { pool, uuid } = c.req.valid('param');
    const { key, value } = c.req.valid('json');
    await setPeer(deps, pool, uuid, key, value);
    return c.body(null, 204);
  });
  api.openapi(forgetPeer, async (c) => {
    const { pool, uuid } = c.req.valid('param');
    await removePeer(deps, pool, uuid);
    return c.body(null, 204);
  });
  api.openapi(promote, async (c) => {
    const options = schemas.promotePoolBody.parse(c.req.valid('json')); // without a body nothing was parsed yet
    const { namespace } = c.req.valid('query');
    return c.json(await promotePool(deps, c.req.valid('param').pool, { ...options, namespace }), 200);
  });
  api.openapi(demote, async (c) => {
    const options = { ...c.req.valid('json'), ...c.req.valid('query') };
    return c.json(await demotePool(deps, c.req.valid('param').pool, options), 200);
  });
  return api;
}
