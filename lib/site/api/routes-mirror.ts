// Owns the routes of mirroring of images: the verbs. Handlers translate; lib/mirror decides.

import { createRoute } from '@hono/zod-openapi';

import { openHeader } from '../../image/access.ts';
import { newRun } from '../../image/collect/collect.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  resyncImage,
} from '../../mirror/verbs/images.ts';
import { promoteImage } from '../../mirror/verbs/promote.ts';
import { access } from './access.ts';
import { done, made, newApi, optionalBody, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['mirroring'];
const imagePath = '/v1/pools/{pool}/images/{image}';
const verbPath = `${imagePath}/mirror` as const;

const { imageParams, namespaceQuery } = schemas;
const imageRequest = { params: imageParams, query: namespaceQuery };

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
  request: { ...imageRequest, body: optionalBody(schemas.createMirrorSnapBody) },
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
    const { quiesce = 'required' } = c.req.valid('json');
    const spec = specOf(c.req.valid('param'), c.req.valid('query'));
    return c.json({ id: await createMirrorSnapshot(deps, spec, { quiesce }) }, 201);
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
