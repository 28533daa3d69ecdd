// Owns the routes of the site itself: health, identity, tokens, failures.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import { clearFailures, listFailures, retryFailures } from '../../mirror/failures.ts';
import { createToken, listTokens, parseScope, removeToken } from '../auth.ts';
import type { SiteConfig } from '../config.ts';
import { readSite } from '../site-document.ts';
import { version } from '../version.ts';
import { access } from './access.ts';
import { body, done, made, newApi, ok, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['site'];

const health = createRoute({
  method: 'get',
  path: '/health',
  tags,
  summary: 'Whether the site answers and its bucket is fit',
  ...access.public,
  responses: ok(schemas.healthSchema, 'It does'),
});
const show = createRoute({
  method: 'get',
  path: '/v1/site',
  tags,
  summary: 'Who this site is',
  ...access.admin,
  responses: ok(schemas.siteSchema, 'Identity and pools'),
});
const tokens = createRoute({
  method: 'get',
  path: '/v1/tokens',
  tags,
  summary: 'API tokens, without their secrets',
  ...access.admin,
  responses: ok(schemas.tokensSchema, 'All tokens but the configured admin token'),
});
const addToken = createRoute({
  method: 'post',
  path: '/v1/tokens',
  tags,
  summary: 'Make a token; its text is shown this once',
  ...access.admin,
  request: { body: body(schemas.createTokenBody) },
  responses: made(schemas.newTokenSchema, 'The new token'),
});
const deleteToken = createRoute({
  method: 'delete',
  path: '/v1/tokens/{id}',
  tags,
  summary: 'Revoke a token; it may work for a few seconds more',
  ...access.admin,
  request: { params: schemas.tokenIdParams },
  responses: done('Revoked'),
});
const failures = createRoute({
  method: 'get',
  path: '/v1/failures',
  tags,
  summary: 'Messages that could not be handled',
  ...access.admin,
  responses: ok(schemas.failuresSchema, 'At most 100, newest first'),
});
const forgetFailures = createRoute({
  method: 'delete',
  path: '/v1/failures',
  tags,
  summary: 'Forget the recorded failures, or one of them',
  ...access.admin,
  request: { query: schemas.failureIdQuery },
  responses: done('Forgotten'),
});
const sendFailures = createRoute({
  method: 'post',
  path: '/v1/failures/retry',
  tags,
  summary: 'Send again the messages of the recorded failures, or of one of them, and forget these',
  ...access.admin,
  request: { query: schemas.failureIdQuery },
  responses: ok(schemas.retriedSchema, 'How many were sent, and how many cannot be'),
});

export function siteRoutes(deps: MirrorDeps, config: SiteConfig): Api {
  const api = newApi();
  api.openapi(health, (c) =>
    c.json({ status: 'ok' as const, name: config.name, platform: config.platform, version }, 200),
  );
  api.openapi(show, async (c) => {
    const { name, url, platform, store } = config;
    const { siteId, pools } = await readSite(deps);
    return c.json(
      {
        name,
        url,
        site_id: siteId,
        platform,
        version,
        pools: pools.toSorted(),
        requests: deps.bucket.counts(),
        ...(store && { store }),
      },
      200,
    );
  });
  api.openapi(tokens, async (c) => c.json(await listTokens(deps), 200));
  api.openapi(addToken, async (c) => {
    const { scope, expiresInSeconds } = c.req.valid('json');
    const expiresAtMs = expiresInSeconds === undefined ? undefined : deps.clock.nowMs() + expiresInSeconds * 1000;
    return c.json(await createToken(deps, parseScope(scope), expiresAtMs), 201);
  });
  api.openapi(deleteToken, async (c) => {
    await removeToken(deps, c.req.valid('param').id);
    return c.body(null, 204);
  });
  api.openapi(failures, async (c) => c.json(await listFailures(deps), 200));
  api.openapi(forgetFailures, async (c) => {
    await clearFailures(deps, c.req.valid('query').id);
    return c.body(null, 204);
  });
  api.openapi(sendFailures, async (c) => c.json(await retryFailures(deps, c.req.valid('query').id), 200));
  return api;
}
