// Owns the routes of what a replica is kept for besides taking over: points in time, and failovers tried out. Handlers
// translate; lib/mirror decides.

import { createRoute, z } from '@hono/zod-openapi';

import type { MirrorDeps } from '../../mirror/deps.ts';
import {
  imageRetention,
  poolRetention,
  setImageRetention,
  setPoolRetention,
} from '../../mirror/verbs/retention-verbs.ts';
import { cleanUpTestFailovers, listTestFailovers, startTestFailover } from '../../mirror/verbs/test-failover.ts';
import { access } from './access.ts';
import { snapshotRef, snapshotRefShape, targetOf, targetShape } from './routes-clones.ts';
import { body, done, made, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['mirroring'];
const poolPath = '/v1/pools/{pool}/mirror/retention';
const imagePath = '/v1/pools/{pool}/images/{image}/mirror/retention';
const testPath = '/v1/pools/{pool}/images/{image}/mirror/test-failover';
const { imageParams, namespaceQuery, poolParams } = schemas;
const imageRequest = { params: imageParams, query: namespaceQuery };

const keepBody = z.object({ keep: z.string().max(64).openapi({ example: '24h,7d,4w,12m' }) }).openapi('KeepPolicy');
const retention = z.object({ keep: z.string().nullable(), from: z.enum(['image', 'pool']).nullable() });
const poolRetentionSchema = retention.openapi('PoolRetention');
const imageRetentionSchema = retention
  .extend({
    points: z.array(z.object({ id: z.number(), name: z.string(), size: z.number(), taken_at: z.string() })),
  })
  .openapi('ImageRetention');

const showPool = createRoute({
  method: 'get',
  path: poolPath,
  tags,
  summary: 'Which points in time this site keeps of what the pool receives',
  ...access.client,
  request: { params: poolParams },
  responses: ok(poolRetentionSchema, 'The policy'),
});
const setPool = createRoute({
  method: 'put',
  path: poolPath,
  tags,
  summary: "Set the pool's policy; it acts with the next mirror snapshot of each image",
  ...access.client,
  request: { params: poolParams, body: body(keepBody) },
  responses: done('Set'),
});
const removePool = createRoute({
  method: 'delete',
  path: poolPath,
  tags,
  summary: "Take the pool's policy back",
  ...access.client,
  request: { params: poolParams },
  responses: done('Taken back'),
});
const showImage = createRoute({
  method: 'get',
  path: imagePath,
  tags,
  summary: 'The policy that an image follows here, and the points that are kept',
  ...access.client,
  request: imageRequest,
  responses: ok(imageRetentionSchema, 'The policy and the points'),
});
const setImage = createRoute({
  method: 'put',
  path: imagePath,
  tags,
  summary: "Set an image's own policy; it acts at once",
  ...access.client,
  request: { ...imageRequest, body: body(keepBody) },
  responses: done('Set'),
});
const removeImage = createRoute({
  method: 'delete',
  path: imagePath,
  tags,
  summary: "Take an image's own policy back; its pool's counts again",
  ...access.client,
  request: imageRequest,
  responses: done('Taken back'),
});

const testSchema = z.object({
  pool: z.string(),
  pool_namespace: z.string(),
  image: z.string(),
  id: z.string(),
  snapshot_id: z.number(),
});
const testsSchema = z.array(testSchema).openapi('TestFailovers');
const testBody = z
  .object({ ...snapshotRefShape, ...targetShape })
  .refine(({ snap, snapId }) => snap === undefined || snapId === undefined, 'give snap or snapId, or neither')
  .openapi('TestFailover');
const testMadeSchema = z.object({ id: z.string(), snapshotId: z.number() }).openapi('TestFailoverMade');

const listTests = createRoute({
  method: 'get',
  path: testPath,
  tags,
  summary: 'Clones made of a replica to try a failover out',
  ...access.client,
  request: imageRequest,
  responses: ok(testsSchema, 'The clones'),
});
const startTest = createRoute({
  method: 'post',
  path: testPath,
  tags,
  summary: 'A writable clone of a replica at a mirror snapshot, the newest unless one is named; replication goes on',
  ...access.client,
  request: { ...imageRequest, body: body(testBody) },
  responses: made(testMadeSchema, 'The clone'),
});
const cleanUp = createRoute({
  method: 'delete',
  path: testPath,
  tags,
  summary: 'Remove the test clones of a replica, or the one of that id',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery.extend({ id: z.string().max(64).optional() }) },
  responses: ok(testsSchema, 'What was removed'),
});

export function retentionRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(showPool, async (c) => c.json(await poolRetention(deps, c.req.valid('param').pool), 200));
  api.openapi(setPool, async (c) => {
    await setPoolRetention(deps, c.req.valid('param').pool, c.req.valid('json').keep);
    return c.body(null, 204);
  });
  api.openapi(removePool, async (c) => {
    await setPoolRetention(deps, c.req.valid('param').pool, undefined);
    return c.body(null, 204);
  });
  api.openapi(showImage, async (c) =>
    c.json(await imageRetention(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(setImage, async (c) => {
    await setImageRetention(deps, specOf(c.req.valid('param'), c.req.valid('query')), c.req.valid('json').keep);
    return c.body(null, 204);
  });
  api.openapi(removeImage, async (c) => {
    await setImageRetention(deps, specOf(c.req.valid('param'), c.req.valid('query')), undefined);
    return c.body(null, 204);
  });
  addTestRoutes(api, deps);
  return api;
}

function addTestRoutes(api: Api, deps: MirrorDeps): void {
  api.openapi(listTests, async (c) =>
    c.json(await listTestFailovers(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(startTest, async (c) => {
    const given = c.req.valid('json');
    const source = specOf(c.req.valid('param'), c.req.valid('query'));
    const target = targetOf(c.get('principal'), source, given);
    return c.json(await startTestFailover(deps, source, target, snapshotRef(given)), 201);
  });
  api.openapi(cleanUp, async (c) => {
    const { id, ...query } = c.req.valid('query');
    const { removed } = await cleanUpTestFailovers(deps, specOf(c.req.valid('param'), query), id);
    return c.json(removed, 200);
  });
}
