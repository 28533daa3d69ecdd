// Owns the routes that say how mirroring stands. Handlers translate; lib/mirror decides.

import { createRoute } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import { imageStatus, poolStatus } from '../../mirror/status/status.ts';
import { access } from './access.ts';
import { newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';
import { imageStatusSchema, poolStatusSchema } from './status-schemas.ts';

const tags = ['mirroring'];

const ofPool = createRoute({
  method: 'get',
  path: '/v1/pools/{pool}/mirror/status',
  tags,
  summary: 'Health of a mirrored pool; with `verbose`, of each image',
  ...access.client,
  request: { params: schemas.poolParams, query: schemas.verboseQuery },
  responses: ok(poolStatusSchema, 'rbd `mirror pool status`'),
});
const ofImage = createRoute({
  method: 'get',
  path: '/v1/pools/{pool}/images/{image}/mirror/status',
  tags,
  summary: 'How replication of an image stands',
  ...access.client,
  request: { params: schemas.imageParams, query: schemas.namespaceQuery },
  responses: ok(imageStatusSchema, 'rbd `mirror image status`'),
});

export function statusRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(ofPool, async (c) => {
    const { namespace, verbose } = c.req.valid('query');
    const { pool } = c.req.valid('param');
    return c.json(await poolStatus(deps, pool, { namespace, verbose: schemas.isSet(verbose) }), 200);
  });
  api.openapi(ofImage, async (c) =>
    c.json(await imageStatus(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  return api;
}
