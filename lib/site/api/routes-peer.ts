// Owns the peer's side of the API: what other sites call. The key has been authenticated for the pool in the path; what a
// peer may do by its direction is decided by `PeerEndpoint`.

import { createRoute, z } from '@hono/zod-openapi';
import type { Context } from 'hono';

import { bytesHeader, formatTag, parseRange, parseTag } from '../../bucket/http-protocol.ts';
import { FarsideError } from '../../errors.ts';
import { slotSchema } from '../../image/header.ts';
import type { MirrorDeps } from '../../mirror/deps.ts';
import { PeerEndpoint, type PackPlace } from '../../mirror/primary/endpoint.ts';
import { registerPeer } from '../../mirror/peers/peer.ts';
import {
  ackSchema,
  deltaAnswerSchema,
  deltaRequestSchema,
  feedPageSchema,
  heartbeatSchema,
  packEntriesSchema,
  peerCatalogSchema,
  peerImageSchema,
  registerAnswerSchema,
  registerSchema,
  wakeSchema,
  type PackAnswer,
  type PackStream,
  type WantedSlot,
} from '../../mirror/peer-protocol.ts';
import { access, type ApiEnv } from './access.ts';
import { errorBody } from './errors.ts';
import { body, done, newApi, ok, type Api } from './routing.ts';
import { errorSchema, poolParams } from './schemas.ts';

const tags = ['peer'];
const poolPath = '/peer/v1/pools/{pool}';
/** Ids become parts of keys. */
const idText = z.string().regex(/^[0-9a-f-]{1,64}$/);
/** A larger copy costs its reader less as a whole pack from elsewhere. */
const entriesBytesMax = 4 * 1024 * 1024;
const imageParams = poolParams.extend({ globalId: idText });
const packParams = poolParams.extend({
  globalId: idText.openapi({ description: "The image's id at this site (not its global id)" }),
  packId: idText,
});

const segmentParams = poolParams.extend({
  globalId: packParams.shape.globalId,
  epoch: z.string().regex(/^[0-9a-f]{16}$/),
  seq: z.string().regex(/^\d{1,15}$/),
});

/** The slot of a journal that the pack was born in, where it may lie. */
const slotQuery = z.object({
  epoch: slotSchema.shape.epoch.optional(),
  seq: z.coerce.number().pipe(slotSchema.shape.seq).optional(),
});

const register = createRoute({
  method: 'post',
  path: `${poolPath}/register`,
  tags,
  summary: 'Become a peer of the pool',
  ...access.bootstrap,
  request: { params: poolParams, body: body(registerSchema) },
  responses: ok(registerAnswerSchema, 'Who this site is, and the key to use from now on'),
});
const unregister = createRoute({
  method: 'delete',
  path: `${poolPath}/register`,
  tags,
  summary: 'Take back a registration; with `only`, if this site merely sends to the caller',
  ...access.peer,
  request: { params: poolParams, query: z.object({ only: z.literal('tx-only').optional() }) },
  responses: done('Forgotten'),
});
const catalog = createRoute({
  method: 'get',
  path: `${poolPath}/catalog`,
  tags,
  summary: 'Every mirrored image',
  ...access.peer,
  request: { params: poolParams },
  responses: ok(peerCatalogSchema, 'Global ids, and where the feed stood'),
});
const feed = createRoute({
  method: 'get',
  path: `${poolPath}/feed`,
  tags,
  summary: 'What changed since a cursor',
  ...access.peer,
  request: { params: poolParams, query: z.object({ from: z.coerce.number().int().min(0) }) },
  responses: ok(feedPageSchema, 'One page of records'),
});
const image = createRoute({
  method: 'get',
  path: `${poolPath}/images/{globalId}`,
  tags,
  summary: 'One mirrored image: its role and mirror snapshots',
  ...access.peer,
  request: { params: imageParams },
  responses: ok(peerImageSchema, 'Present, removed or absent'),
});
const delta = createRoute({
  method: 'post',
  path: `${poolPath}/images/{globalId}/delta`,
  tags,
  summary: 'One manifest of what a snapshot reaches and the held roots do not',
  ...access.peer,
  request: { params: imageParams, body: body(deltaRequestSchema) },
  responses: ok(deltaAnswerSchema, 'The manifest, or that it is gone'),
});
const ack = createRoute({
  method: 'post',
  path: `${poolPath}/images/{globalId}/ack`,
  tags,
  summary: "The replica's status, and what it has completed",
  ...access.peer,
  request: { params: imageParams, body: body(ackSchema) },
  responses: done('Noted'),
});
const pack = createRoute({
  method: 'get',
  path: `${poolPath}/images/{globalId}/packs/{packId}`,
  tags,
  summary: 'A pack of a mirrored image, or a range of it',
  ...access.peer,
  request: {
    params: packParams,
    query: slotQuery,
    headers: z.object({ range: z.string().optional(), 'if-match': z.string().optional() }),
  },
  responses: {
    200: {
      description: 'The pack',
      content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } },
    },
    206: {
      description: 'The range, cut at the end',
      content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } },
    },
    307: { description: 'Where to read it, with the same headers but without the key' },
    412: { description: 'The copy has another tag', content: { 'application/json': { schema: errorSchema } } },
    416: { description: 'The range holds no byte' },
    default: { description: 'What went wrong', content: { 'application/json': { schema: errorSchema } } },
  },
});
const packEntries = createRoute({
  method: 'post',
  path: `${poolPath}/images/{globalId}/packs/{packId}/entries`,
  tags,
  summary: 'A sparse copy of a pack: the entries asked for and no more',
  ...access.peer,
  request: { params: packParams, body: body(packEntriesSchema) },
  responses: {
    200: {
      description: 'The copy',
      content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } },
    },
    303: { description: 'Where to read the whole pack instead, without the key' },
    default: { description: 'What went wrong', content: { 'application/json': { schema: errorSchema } } },
  },
});
const segment = createRoute({
  method: 'get',
  path: `${poolPath}/images/{globalId}/segments/{epoch}/{seq}`,
  tags,
  summary: "A slot of a mirrored image's journal: a segment or a fence",
  ...access.peer,
  request: { params: segmentParams },
  responses: {
    200: {
      description: 'What is in the slot',
      content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } },
    },
    307: { description: 'Where to read it, without the key' },
    default: { description: 'What went wrong', content: { 'application/json': { schema: errorSchema } } },
  },
});
const point = createRoute({
  method: 'post',
  path: `${poolPath}/images/{globalId}/point`,
  tags,
  summary: 'The caller cannot follow the journal any further: take a point',
  ...access.peer,
  request: { params: imageParams },
  responses: done('The newest point says everything'),
});
const wake = createRoute({
  method: 'post',
  path: `${poolPath}/wake`,
  tags,
  summary: 'Images changed at the caller',
  ...access.peer,
  request: { params: poolParams, body: body(wakeSchema) },
  responses: done('Enqueued'),
});
const heartbeat = createRoute({
  method: 'post',
  path: `${poolPath}/heartbeat`,
  tags,
  summary: 'The caller is alive',
  ...access.peer,
  request: { params: poolParams, body: body(heartbeatSchema) },
  responses: done('Noted'),
});

/** `elsewhere`: peers reach the bucket themselves, and are sent there for what is large. */
export type PeerRoutesOptions = { elsewhere: boolean };

export function peerRoutes(deps: MirrorDeps, options: PeerRoutesOptions): Api {
  const api = newApi();
  api.openapi(register, async (c) =>
    c.json(await registerPeer(deps, c.req.valid('param').pool, c.req.valid('json')), 200),
  );
  api.openapi(unregister, async (c) => {
    await endpointOf(deps, c).unregister(c.req.valid('query').only);
    return c.body(null, 204);
  });
  api.openapi(catalog, async (c) => c.json(await endpointOf(deps, c).catalog(), 200));
  api.openapi(feed, async (c) => c.json(await endpointOf(deps, c).feed(c.req.valid('query').from), 200));
  api.openapi(image, async (c) => c.json(await endpointOf(deps, c).image(c.req.valid('param').globalId), 200));
  api.openapi(delta, async (c) =>
    c.json(await endpointOf(deps, c).delta(c.req.valid('param').globalId, c.req.valid('json')), 200),
  );
  api.openapi(ack, async (c) => {
    await endpointOf(deps, c).ack(c.req.valid('param').globalId, c.req.valid('json'));
    return c.body(null, 204);
  });
  api.openapi(wake, async (c) => {
    await endpointOf(deps, c).wake(c.req.valid('json').globalIds);
    return c.body(null, 204);
  });
  api.openapi(heartbeat, async (c) => {
    await endpointOf(deps, c).heartbeat(c.req.valid('json'));
    return c.body(null, 204);
  });
  addPackRoutes(api, deps, options);
  addJournalRoutes(api, deps, options);
  return api;
}

function addPackRoutes(api: Api, deps: MirrorDeps, { elsewhere }: PeerRoutesOptions): void {
  api.openapi(pack, async (c) => {
    const { globalId: imageId, packId } = c.req.valid('param');
    const slot = slotOf(c.req.valid('query'));
    const endpoint = endpointOf(deps, c);
    const place = elsewhere ? await endpoint.packPlace(imageId, packId, slot) : here;
    if (place.status !== 'here') return answerPlace(c, place, 307);
    const { range: rangeText, 'if-match': tagText } = c.req.valid('header');
    const range = rangeText === undefined ? undefined : parseRange(rangeText);
    const ifMatch = tagText === undefined ? undefined : requireTag(tagText);
    // A HEAD would leave a stream unread.
    const isWhole = c.req.method === 'GET' && range === undefined && ifMatch === undefined;
    const answer = isWhole
      ? await endpoint.packStream(imageId, packId, slot)
      : await endpoint.pack(imageId, packId, { range, ifMatch, slot });
    return answerPack(c, answer, range?.offset);
  });
  api.openapi(packEntries, async (c) => {
    const { globalId: imageId, packId } = c.req.valid('param');
    const endpoint = endpointOf(deps, c);
    const wanted = c.req.valid('json');
    const answer = await endpoint.packEntries(imageId, packId, wanted);
    const isLarge = answer.status === 'found' && answer.body.length > entriesBytesMax;
    const place = elsewhere && isLarge ? await endpoint.packPlace(imageId, packId, wanted.slot) : here;
    return place.status === 'here' ? answerPack(c, answer, undefined) : answerPlace(c, place, 303);
  });
}

function addJournalRoutes(api: Api, deps: MirrorDeps, { elsewhere }: PeerRoutesOptions): void {
  api.openapi(segment, async (c) => {
    const { globalId: imageId, epoch, seq: seqText } = c.req.valid('param');
    const seq = Number(seqText);
    const endpoint = endpointOf(deps, c);
    const place = elsewhere ? await endpoint.segmentPlace(imageId, epoch, seq) : here;
    if (place.status !== 'here') return answerPlace(c, place, 307);
    return answerPack(c, await endpoint.segment(imageId, epoch, seq), undefined);
  });
  api.openapi(point, async (c) => {
    await endpointOf(deps, c).requestPoint(c.req.valid('param').globalId);
    return c.body(null, 204);
  });
}

function endpointOf(deps: MirrorDeps, c: Context<ApiEnv>): PeerEndpoint {
  const caller = c.get('caller');
  if (caller.kind !== 'peer') throw new FarsideError('EPERM', 'only a registered peer may do that');
  return new PeerEndpoint(deps, c.req.param('pool') ?? '', caller.peer);
}

const slotOf = ({ epoch, seq }: z.infer<typeof slotQuery>): WantedSlot | undefined =>
  epoch === undefined || seq === undefined ? undefined : { epoch, seq };

const here: PackPlace = { status: 'here' };

function answerPlace(c: Context, place: Exclude<PackPlace, { status: 'here' }>, status: 303 | 307): Response {
  return place.status === 'absent' ? answerPack(c, place, undefined) : c.redirect(place.url, status);
}

function requireTag(text: string): string {
  const tag = parseTag(text);
  if (tag === undefined) throw new FarsideError('EINVAL', 'unsupported If-Match: use one quoted tag');
  return tag;
}

/** As the store endpoint answers: 200 or 206 with the whole copy's size, 416 for a range that holds no byte. */
function answerPack(c: Context, answer: PackAnswer | PackStream, offset: number | undefined): Response {
  if (answer.status === 'absent') return c.json(errorBody('ENOENT', 'no such pack'), 404);
  if (answer.status === 'changed') return c.json(errorBody('ESTALE', 'the pack was made sparser'), 412);
  const { etag, objectBytes } = answer;
  const headers = {
    'content-type': 'application/octet-stream',
    etag: formatTag(etag),
    [bytesHeader]: String(objectBytes),
  };
  if (!(answer.body instanceof Uint8Array))
    return c.body(answer.body, 200, { ...headers, 'content-length': String(objectBytes) });
  const bytes = answer.body as Uint8Array<ArrayBuffer>;
  if (offset === undefined) return c.body(bytes, 200, headers);
  if (bytes.length === 0) return c.body(null, 416, { ...headers, 'content-range': `bytes */${objectBytes}` });
  return c.body(bytes, 206, {
    ...headers,
    'content-range': `bytes ${offset}-${offset + bytes.length - 1}/${objectBytes}`,
  });
}
