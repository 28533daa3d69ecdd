// Owns the routes of clones. Handlers translate; lib/image decides.

import { createRoute, z } from '@hono/zod-openapi';

import { listChildren } from '../../image/clones/children.ts';
import { cloneFormats, cloneImage } from '../../image/clones/clone.ts';
import { copyStep } from '../../image/clones/copy.ts';
import { flattenStep } from '../../image/clones/flatten.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { SnapshotRef } from '../../image/info.ts';
import { dataPoolOf } from '../../image/options.ts';
import { recentLevels } from '../../mirror/config.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import type { Principal } from '../auth.ts';
import { access } from './access.ts';
import { forbidden } from './errors.ts';
import { body, made, newApi, ok, specOf, type Api } from './routing.ts';
import * as schemas from './schemas.ts';

const tags = ['clones'];
const imagePath = '/v1/pools/{pool}/images/{image}';
const { imageParams, namespaceQuery } = schemas;

const name = z.string().min(1).max(1024);
/** A snapshot by name, or any (mirror snapshots too) by id. */
export const snapshotRefShape = { snap: name.optional(), snapId: z.int().min(0).optional() };

/** Where a new image is to be, beside the one that it is made of unless a pool is given. */
export const targetShape = {
  pool: name.optional(),
  namespace: z.string().max(1024).default(''),
  name: name.openapi({ example: 'vm-2' }),
};

/** EPERM: a client of one pool makes no images in another. */
export function targetOf(
  principal: Principal,
  source: ImageSpec,
  given: { pool?: string | undefined; namespace: string; name: string },
): ImageSpec {
  const pool = given.pool ?? source.pool;
  if (principal.kind === 'client' && principal.pool !== pool)
    throw forbidden('this token may not make images in that pool');
  return { pool, namespace: given.namespace, image: given.name };
}

const cloneBody = z
  .object({
    ...snapshotRefShape,
    ...targetShape,
    cloneFormat: z.enum(cloneFormats).default('auto'),
    ...schemas.creationShape,
  })
  .refine(({ snap, snapId }) => (snap === undefined) !== (snapId === undefined), 'give either snap or snapId')
  .openapi('Clone');

const childrenQuery = schemas.imageQuery.extend({
  snap: name.optional(),
  snapId: z.coerce.number().int().min(0).optional(),
  descendants: schemas.flag,
});
const childrenSchema = z
  .array(
    z.object({ pool: z.string(), pool_namespace: z.string(), image: z.string(), id: z.string(), trash: z.boolean() }),
  )
  .openapi('Children');
const flattenedSchema = z
  .object({
    done: z.boolean(),
    fromOffset: z.number().openapi({ description: 'Everything before it is copied.' }),
    sizeBytes: z.number(),
  })
  .openapi('Flattened');

const copyBody = z
  .object({
    ...targetShape,
    snap: name.optional(),
    deep: z.boolean().default(false).openapi({ description: 'With the user snapshots.' }),
    begun: z
      .string()
      .regex(/^[0-9a-f]{24}$/)
      .optional()
      .openapi({ description: 'In all steps but the first: the id that the first answered.' }),
    ...schemas.creationShape,
  })
  .openapi('Copy');
const copiedSchema = z
  .object({
    done: z.boolean(),
    imageId: z.string(),
    fromOffset: z.number().openapi({ description: 'Everything before it is copied.' }),
    sizeBytes: z.number(),
  })
  .openapi('Copied');

const copy = createRoute({
  method: 'post',
  path: `${imagePath}/copy`,
  tags,
  summary: 'Copy a bounded part of an image or snapshot into a new image; repeat until it is done',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery, body: body(copyBody) },
  responses: ok(copiedSchema, 'How far it is. The new image appears when it is done'),
});
const clone = createRoute({
  method: 'post',
  path: `${imagePath}/clone`,
  tags,
  summary: 'Clone a snapshot: a writable image at once, whatever its size',
  ...access.client,
  request: { params: imageParams, query: namespaceQuery, body: body(cloneBody) },
  responses: made(schemas.idSchema, 'The clone'),
});
const children = createRoute({
  method: 'get',
  path: `${imagePath}/children`,
  tags,
  summary: 'Clones of an image, or of one snapshot of it',
  ...access.client,
  request: { params: imageParams, query: childrenQuery },
  responses: ok(childrenSchema, 'rbd `children --all`'),
});
const flatten = createRoute({
  method: 'post',
  path: `${imagePath}/flatten`,
  tags,
  summary: 'Copy a bounded part of what a clone has from its parent; repeat until it is done',
  ...access.client,
  request: { params: imageParams, query: schemas.imageQuery },
  responses: ok(flattenedSchema, 'How far it is'),
});

/** Undefined when neither is given. */
export const snapshotRef = (given: {
  snap?: string | undefined;
  snapId?: number | undefined;
}): SnapshotRef | undefined => {
  if (given.snap !== undefined) return { name: given.snap };
  return given.snapId === undefined ? undefined : { id: given.snapId };
};

export function cloneRoutes(deps: MirrorDeps): Api {
  const api = newApi();
  api.openapi(clone, async (c) => {
    const { cloneFormat, snap, snapId, pool, namespace, name: image, ...asked } = c.req.valid('json');
    const source = specOf(c.req.valid('param'), c.req.valid('query'));
    const target = targetOf(c.get('principal'), source, { pool, namespace, name: image });
    const dataPool = dataPoolOf(asked.dataPool, target.pool, await recentLevels(deps, target.pool));
    const ref = snapshotRef({ snap, snapId })!;
    const id = await cloneImage(deps, source, ref, target, { ...asked, cloneFormat, dataPool });
    return c.json({ id }, 201);
  });
  api.openapi(copy, async (c) => {
    const { snap, deep, begun, pool, namespace, name: image, ...asked } = c.req.valid('json');
    const source = specOf(c.req.valid('param'), c.req.valid('query'), snap);
    const target = targetOf(c.get('principal'), source, { pool, namespace, name: image });
    const dataPool = dataPoolOf(asked.dataPool, target.pool, await recentLevels(deps, target.pool));
    return c.json(await copyStep(deps, source, target, { ...asked, deep, begun, dataPool }), 200);
  });
  api.openapi(children, async (c) => {
    const { descendants, ...query } = c.req.valid('query');
    const spec = specOf(c.req.valid('param'), query);
    const options = { snapshot: snapshotRef(query), descendants: schemas.isSet(descendants) };
    return c.json(await listChildren(deps, spec, options), 200);
  });
  api.openapi(flatten, async (c) =>
    c.json(await flattenStep(deps, specOf(c.req.valid('param'), c.req.valid('query'))), 200),
  );
  return api;
}
