// Owns the routes of images and their metadata. Handlers translate; lib/image decides.

import { createRoute } from '@hono/zod-openapi';

import { createImage, imageInfo, listImages, renameImage, resizeImage } from '../../image/images.ts';
import { getMeta, listMeta, removeMeta, setMeta } from '../../image/meta.ts';
import { creationOf } from '../../image/options.ts';
import { recentLevels } from '../../mirror/config.ts';
import { mirrorByFeature, updateMirroredFeatures } from '../../mirror/verbs/by-feature.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { removeMirroredImage } from '../../mirror/verbs/images.ts';
import { access } from './access.ts';
import { body, done, made, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['images'];
const imagesPath = '/v1/pools/{pool}/images';
const imagePath = `${imagesPath}/{image}` as const;

const { imageParams, metaParams, namespaceQuery, poolParams } = schemas;
const imageRequest = { params: imageParams, query: namespaceQuery };

const list = createRoute({
  method: 'get',
  path: imagesPath,
  tags,
  summary: 'Images and their user snapshots, a page at a time',
  ...access.client,
  request: { params: poolParams, query: schemas.listQuery },
  responses: ok(schemas.imagesSchema, 'rbd `ls -l`, and where to read on'),
});
const create = createRoute({
  method: 'post',
  path: imagesPath,
  tags,
  summary: 'Create an image',
  ...access.client,
  request: { params: poolParams, query: namespaceQuery, body: body(schemas.createImageBody) },
  responses: made(schemas.idSchema, 'The new image'),
});
const info = createRoute({
  method: 'get',
  path: imagePath,
  tags,
  summary: 'An image, or (with `snap`) a snapshot of it',
  ...access.client,
  request: { params: imageParams, query: schemas.infoQuery },
  responses: ok(schemas.infoSchema, 'rbd `info`'),
});
const rename = createRoute({
  method: 'patch',
  path: imagePath,
  tags,
  summary: 'Rename an image within its pool and namespace',
  ...access.client,
  request: { ...imageRequest, body: body(schemas.renameBody) },
  responses: done('Renamed'),
});
const remove = createRoute({
  method: 'delete',
  path: imagePath,
  tags,
  summary: 'Remove an image; a mirrored primary takes its replicas with it',
  ...access.client,
  request: { ...imageRequest, query: schemas.removeQuery },
  responses: done('Removed; its objects go in the background'),
});
const resize = createRoute({
  method: 'post',
  path: `${imagePath}/resize`,
  tags,
  summary: 'Grow or shrink an image',
  ...access.client,
  request: { ...imageRequest, body: body(schemas.resizeBody) },
  responses: done('Resized'),
});

const features = createRoute({
  method: 'post',
  path: `${imagePath}/features`,
  tags,
  summary: 'Enable or disable features',
  ...access.client,
  request: { ...imageRequest, body: body(schemas.featuresBody) },
  responses: done('Updated'),
});

const byFeature = createRoute({
  method: 'post',
  path: `${imagePath}/mirror/by-feature`,
  tags,
  summary: 'For who made the image in the bucket: in mode `pool` it is mirrored if its features say so',
  ...access.client,
  request: imageRequest,
  responses: done('Looked at'),
});

export function imageRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(list, async (c) => {
    const { namespace, after, limit } = c.req.valid('query');
    return c.json(await listImages(deps, c.req.valid('param').pool, namespace, { after, limit }), 200);
  });
  api.openapi(create, async (c) => {
    const { name, sizeBytes, ...asked } = c.req.valid('json');
    const spec = specOf({ pool: c.req.valid('param').pool, image: name }, c.req.valid('query'));
    const creation = creationOf(asked, spec.pool, await recentLevels(deps, spec.pool));
    const id = await createImage(deps, spec, { sizeBytes, ...creation });
    return c.json({ id }, 201);
  });
  api.openapi(byFeature, async (c) => {
    await mirrorByFeature(deps, specOf(c.req.valid('param'), c.req.valid('query')));
    return c.body(null, 204);
  });
  api.openapi(info, async (c) => {
    const query = c.req.valid('query');
    return c.json(await imageInfo(deps, specOf(c.req.valid('param'), query, query.snap)), 200);
  });
  api.openapi(rename, async (c) => {
    await renameImage(deps, specOf(c.req.valid('param'), c.req.valid('query')), c.req.valid('json').name);
    return c.body(null, 204);
  });
  api.openapi(remove, async (c) => {
    const { toTrash, expireSeconds, parentToTrash, ...query } = c.req.valid('query');
    const asked = { toTrash: schemas.asked(toTrash), expireSeconds, parentToTrash: schemas.asked(parentToTrash) };
    await removeMirroredImage(deps, specOf(c.req.valid('param'), query), asked);
    return c.body(null, 204);
  });
  api.openapi(resize, async (c) => {
    await resizeImage(deps, specOf(c.req.valid('param'), c.req.valid('query')), c.req.valid('json'));
    return c.body(null, 204);
  });
  api.openapi(features, async (c) => {
    const change = c.req.valid('json');
    const spec = specOf(c.req.valid('param'), c.req.valid('query'));
    if ('enable' in change) await updateMirroredFeatures(deps, spec, change.enable, 'enable');
    else await updateMirroredFeatures(deps, spec, change.disable, 'disable');
    return c.body(null, 204);
  });
  addMetaRoutes(api, deps);
  return api;
}

const metaPath = `${imagePath}/meta` as const;
const keyPath = `${metaPath}/{key}` as const;
const metaRequest = { params: metaParams, query: namespaceQuery };

const listAllMeta = createRoute({
  method: 'get',
  path: metaPath,
  tags,
  summary: 'All metadata of an image',
  ...access.client,
  request: imageRequest,
  responses: ok(schemas.metaSchema, 'Values by key'),
});
const readMeta = createRoute({
  method: 'get',
  path: keyPath,
  tags,
  summary: 'The metadata of one key',
  ...access.client,
  request: metaRequest,
  responses: ok(schemas.metaValueSchema, 'The value'),
});
const writeMeta = createRoute({
  method: 'put',
  path: keyPath,
  tags,
  summary: 'Set the metadata of one key',
  ...access.client,
  request: { ...metaRequest, body: body(schemas.metaValueBody) },
  responses: done('Set'),
});
const deleteMeta = createRoute({
  method: 'delete',
  path: keyPath,
  tags,
  summary: 'Remove the metadata of one key',
  ...access.client,
  request: metaRequest,
  responses: done('Removed'),
});

function addMetaRoutes(api: Api, deps: MirrorDeps): void {
  api.openapi(listAllMeta, async (c) =>
    c.json(await listMeta(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  api.openapi(readMeta, async (c) => {
    const params = c.req.valid('param');
    return c.json({ value: await getMeta(deps, specOf(params, c.req.valid('query')), params.key) }, 200);
  });
  api.openapi(writeMeta, async (c) => {
    const params = c.req.valid('param');
    await setMeta(deps, specOf(params, c.req.valid('query')), params.key, c.req.valid('json').value);
    return c.body(null, 204);
  });
  api.openapi(deleteMeta, async (c) => {
    const params = c.req.valid('param');
    await removeMeta(deps, specOf(params, c.req.valid('query')), params.key);
    return c.body(null, 204);
  });
}
