// Owns the store endpoint: a site's bucket over HTTP, for clients that read and write image data themselves (the `http`
// driver). The protocol is in lib/bucket/http-protocol.ts. Who may do what is the caller's `authorize`; this file makes
// sure that it is asked before the bucket is touched, that keys are farside's, and that bodies are bounded.

import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context, Env } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';

import { Bucket } from '../../bucket/bucket.ts';
import type { Driver, GetOutcome, ObjectMeta, PutCondition, PutOutcome } from '../../bucket/driver.ts';
import {
  bytesHeader,
  deleteSchema,
  errorSchema,
  formatTag,
  listPageSchema,
  parseRange,
  parseTag,
  storeBodyBytesMax,
  storeDeletePath,
  storePath,
  uploadedHeader,
} from '../../bucket/http-protocol.ts';
import { parseKey } from '../../bucket/keys.ts';
import { listLimitMax } from '../../bucket/rules.ts';
import { type ErrorCode, FarsideError } from '../../errors.ts';

export type StoreRoutesOptions<E extends Env> = {
  storeOf: (c: Context<E>) => Bucket | Driver;
  /** Throws (EACCES) unless the request may do this to the key, or to everything below the prefix. */
  authorize: (c: Context<E>, keyOrPrefix: string, access: 'read' | 'write') => void | Promise<void>;
  /** Which keys exist at all; only tests of drivers have others than farside's. */
  isKey?: (text: string) => boolean;
};

type Store = Pick<Driver, 'get' | 'head' | 'put' | 'delete' | 'list'>;

export function storeRoutes<E extends Env>(options: StoreRoutesOptions<E>): OpenAPIHono<E> {
  const app = new OpenAPIHono<E>({
    defaultHook: (result) => {
      if (!result.success) throw new FarsideError('EINVAL', z.prettifyError(result.error));
    },
  });
  app.onError(answerError);
  // Bodies of both PUT and POST; refused before they are read when their length is announced.
  app.use(`${storePath}/*`, bodyLimit({ maxSize: storeBodyBytesMax, onError: refuseBody }));
  app.use(storeDeletePath, bodyLimit({ maxSize: storeBodyBytesMax, onError: refuseBody }));
  addObjectRoutes(app, options);
  addBatchRoutes(app, options);
  return app;
}

function addObjectRoutes<E extends Env>(app: OpenAPIHono<E>, options: StoreRoutesOptions<E>): void {
  app.openapi(getRoute, async (c) => {
    const key = await admit(c, c.req.valid('param').key, 'read', options);
    const store = storeOf(c, options);
    return c.req.method === 'HEAD' ? answerHead(c, store, key) : answerGet(c, store, key);
  });
  app.openapi(putRoute, async (c) => {
    const key = await admit(c, c.req.valid('param').key, 'write', options);
    const condition = conditionOf(c.req.header('if-none-match'), c.req.header('if-match'));
    const outcome = await storeOf(c, options).put(key, new Uint8Array(await c.req.arrayBuffer()), condition);
    if (outcome.status === 'refused') return refuse(c, `'${key}' is not in the state that the condition asks for`);
    return c.body(null, 200, { etag: formatTag(outcome.etag) });
  });
  app.openapi(deleteRoute, async (c) => {
    const key = await admit(c, c.req.valid('param').key, 'write', options);
    await storeOf(c, options).delete([key]);
    return c.body(null, 204);
  });
}

function addBatchRoutes<E extends Env>(app: OpenAPIHono<E>, options: StoreRoutesOptions<E>): void {
  app.openapi(listRoute, async (c) => {
    const { prefix, after, limit } = c.req.valid('query');
    await options.authorize(c, prefix, 'read');
    return c.json(await storeOf(c, options).list({ prefix, after, limit }), 200);
  });
  app.openapi(deleteManyRoute, async (c) => {
    const { keys } = c.req.valid('json');
    for (const key of keys) await admit(c, key, 'write', options);
    await storeOf(c, options).delete(keys);
    return c.body(null, 204);
  });
}

/** The key, once it is known to be one and to be allowed. */
async function admit<E extends Env>(
  c: Context<E>,
  key: string,
  access: 'read' | 'write',
  options: StoreRoutesOptions<E>,
): Promise<string> {
  const isKey = options.isKey ?? ((text: string) => parseKey(text) !== undefined);
  if (!isKey(key)) throw new FarsideError('EINVAL', `'${key.slice(0, 80)}' is not a key of farside's`);
  await options.authorize(c, key, access);
  return key;
}

async function answerHead(c: Context, store: Store, key: string): Promise<Response> {
  const meta = await store.head(key);
  if (!meta) return answerAbsent(c, key);
  const ifMatch = c.req.header('if-match');
  if (ifMatch !== undefined && requireTag(ifMatch) !== meta.etag) return refuse(c, `'${key}' has changed`);
  return c.body(null, 200, metaHeaders(meta));
}

async function answerGet(c: Context, store: Store, key: string): Promise<Response> {
  const rangeHeader = c.req.header('range');
  const ifMatch = c.req.header('if-match');
  const range = rangeHeader === undefined ? undefined : parseRange(rangeHeader);
  const outcome = await store.get(key, { range, ifMatch: ifMatch === undefined ? undefined : requireTag(ifMatch) });
  if (outcome.status === 'absent') return answerAbsent(c, key);
  if (outcome.status === 'changed') return refuse(c, `'${key}' has changed`);
  return range ? answerPart(c, outcome, range.offset) : c.body(bytesOf(outcome.body), 200, metaHeaders(outcome.meta));
}

function answerPart(c: Context, { body, meta }: Extract<GetOutcome, { status: 'found' }>, offset: number): Response {
  const headers = metaHeaders(meta);
  if (body.length === 0) return c.body(null, 416, { ...headers, 'content-range': `bytes */${meta.bytes}` });
  const contentRange = `bytes ${offset}-${offset + body.length - 1}/${meta.bytes}`;
  return c.body(bytesOf(body), 206, { ...headers, 'content-range': contentRange });
}

const bytesOf = (body: Uint8Array): Uint8Array<ArrayBuffer> => body as Uint8Array<ArrayBuffer>;

function metaHeaders({ bytes, etag, uploadedAtMs }: ObjectMeta): Record<string, string> {
  return {
    'content-type': 'application/octet-stream',
    'cache-control': 'no-store',
    etag: formatTag(etag),
    [bytesHeader]: String(bytes),
    [uploadedHeader]: String(uploadedAtMs),
  };
}

function requireTag(header: string): string {
  const etag = parseTag(header);
  if (etag === undefined) throw new FarsideError('EINVAL', 'unsupported If-Match: use one quoted tag');
  return etag;
}

function conditionOf(ifNoneMatch: string | undefined, ifMatch: string | undefined): PutCondition {
  if (ifNoneMatch !== undefined && (ifNoneMatch !== '*' || ifMatch !== undefined)) {
    throw new FarsideError('EINVAL', "unsupported conditions: use either 'If-None-Match: *' or 'If-Match'");
  }
  if (ifMatch !== undefined) return { etag: requireTag(ifMatch) };
  return ifNoneMatch === undefined ? 'none' : 'absent';
}

function storeOf<E extends Env>(c: Context<E>, options: StoreRoutesOptions<E>): Store {
  const store = options.storeOf(c);
  return store instanceof Bucket ? driverOver(store) : store;
}

/** A Bucket, called as a driver. What stays unclear to it is made unclear to the client, whose own Bucket then reads back. */
function driverOver(bucket: Bucket): Store {
  return {
    get: (key, options) => bucket.get(key, options),
    head: (key) => bucket.head(key),
    put: (key, body, condition) => putThrough(bucket, { key, body, condition }),
    delete: (keys) => bucket.delete(keys),
    list: (options) => bucket.list(options),
  };
}

type Put = { key: string; body: Uint8Array; condition: PutCondition };

async function putThrough(bucket: Bucket, { key, body, condition }: Put): Promise<PutOutcome> {
  if (condition === 'none') throw new FarsideError('EINVAL', "a put needs 'If-None-Match: *' or 'If-Match'");
  const outcome =
    condition === 'absent' ? await bucket.create(key, body) : await bucket.replace(key, body, condition.etag);
  if ('etag' in outcome) return { status: 'stored', etag: outcome.etag };
  if (outcome.unclear)
    throw new FarsideError('ETIMEDOUT', `the outcome of writing '${key}' is unclear`, { retry: 'later' });
  return { status: 'refused' };
}

const answerAbsent = (c: Context, key: string): Response =>
  c.json({ error: { code: 'ENOENT', message: `no object '${key}'` } }, 404);
const refuse = (c: Context, message: string): Response => c.json({ error: { code: 'ESTALE', message } }, 412);

function refuseBody(): never {
  throw new FarsideError('EFBIG', `the body is larger than ${storeBodyBytesMax} bytes`);
}

const statusOf: Partial<Record<ErrorCode, 400 | 403 | 404 | 413 | 501>> = {
  EINVAL: 400,
  EACCES: 403,
  EPERM: 403,
  EROFS: 403,
  ENOENT: 404,
  EFBIG: 413,
  EOPNOTSUPP: 501,
};

/** A bug goes on to the site's own handler. */
function answerError(error: Error, c: Context): Response {
  if (error instanceof HTTPException)
    return c.json({ error: { code: 'EINVAL', message: error.message } }, error.status);
  if (!(error instanceof FarsideError)) throw error;
  const body = { error: { code: error.code, message: error.message } };
  if (error.retry === 'now') return c.json(body, 409);
  if (error.retry === 'later') return c.json(body, 503);
  return c.json(body, statusOf[error.code] ?? 500);
}

const keyParameter = z.object({
  key: z.string().openapi({ description: 'Key of the object, percent-encoded as one segment' }),
});
const binary = { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } };
const failed = (description: string) => ({ description, content: { 'application/json': { schema: errorSchema } } });
const tags = ['store'];

const getRoute = createRoute({
  method: 'get',
  path: `${storePath}/{key}`,
  tags,
  summary: 'Read an object, or a range of it; HEAD for its size, tag and time',
  request: {
    params: keyParameter,
    headers: z.object({ range: z.string().optional(), 'if-match': z.string().optional() }),
  },
  responses: {
    200: { description: 'The object', content: binary },
    206: { description: 'The range, cut at the end of the object', content: binary },
    404: failed('No such object'),
    412: failed('The object has another tag'),
    416: { description: 'The range holds no byte of the object' },
  },
});

const putRoute = createRoute({
  method: 'put',
  path: `${storePath}/{key}`,
  tags,
  summary: 'Create an object (If-None-Match: *) or replace one version of it (If-Match)',
  request: {
    params: keyParameter,
    headers: z.object({ 'if-none-match': z.string().optional(), 'if-match': z.string().optional() }),
    body: { content: binary },
  },
  responses: {
    200: { description: 'Stored and durable; the tag is in the ETag header' },
    412: failed('The condition does not hold'),
    413: failed(`Larger than ${storeBodyBytesMax} bytes`),
  },
});

const deleteRoute = createRoute({
  method: 'delete',
  path: `${storePath}/{key}`,
  tags,
  summary: 'Delete an object, if it exists',
  request: { params: keyParameter },
  responses: { 204: { description: 'It is gone' } },
});

const listRoute = createRoute({
  method: 'get',
  path: storePath,
  tags,
  summary: 'List objects in order of key',
  request: {
    query: z.object({
      prefix: z.string().default(''),
      after: z.string().optional(),
      limit: z.coerce.number().int().min(1).max(listLimitMax).default(listLimitMax),
    }),
  },
  responses: { 200: { description: 'One page', content: { 'application/json': { schema: listPageSchema } } } },
});

const deleteManyRoute = createRoute({
  method: 'post',
  path: storeDeletePath,
  tags,
  summary: 'Delete up to 1,000 objects',
  request: { body: { content: { 'application/json': { schema: deleteSchema } }, required: true } },
  responses: { 204: { description: 'They are gone' } },
});
