// Whatever a caller sends, the site answers in its own words: never a 500, never a hang, never another shape.

import fc from 'fast-check';
import { beforeAll, beforeEach, expect, test } from 'vitest';

import { adminToken } from './harness.ts';
import { startedSite, type StartedSite } from './started-site.ts';

let site: StartedSite;
let peerKey: string;

/** What each operation would accept, to be mutated. */
const goodBodies: Record<string, unknown> = {
  'POST /v1/tokens': { scope: 'pool:rbd', expiresInSeconds: 60 },
  'POST /v1/pools': { name: 'other' },
  'POST /v1/pools/:pool/images': { name: 'new', sizeBytes: 2 ** 20, objectBytes: 2 ** 22 },
  'PATCH /v1/pools/:pool/images/:image': { name: 'new' },
  'POST /v1/pools/:pool/images/:image/resize': { sizeBytes: 2 ** 21, allowShrink: true },
  'PUT /v1/pools/:pool/images/:image/meta/:key': { value: 'v' },
  'PUT /v1/pools/:pool/images/:image/snapshot-limit': { limit: 5 },
  'POST /v1/pools/:pool/images/:image/locks': {
    id: 'backup',
    tag: 'readers',
    locker: 'client.1',
    address: '10.0.0.7:0/1',
  },
  'POST /v1/pools/:pool/images/:image/copy': { pool: 'rbd', name: 'copied', deep: true },
  'PUT /v1/pools/:pool/config/:option': { value: '5' },
  'PUT /v1/config/:section/:option': { value: '5' },
  'POST /v1/pools/:pool/images/:image/features': { disable: ['fast-diff'] },
  'POST /v1/pools/:pool/trash': { image: 'disk', delaySeconds: 60 },
  'POST /v1/pools/:pool/trash/purge': { expiredBeforeMs: 1, after: 'x' },
  'POST /v1/pools/:pool/trash/:id/restore': { name: 'new' },
  'POST /v1/pools/:pool/images/:image/snaps': { name: 's' },
  'PATCH /v1/pools/:pool/images/:image/snaps/:snap': { name: 't' },
  'PUT /v1/pools/:pool/mirror': { mode: 'image', siteName: 'a' },
  'POST /v1/pools/:pool/mirror/bootstrap': { siteName: 'a' },
  'POST /v1/pools/:pool/mirror/bootstrap/import': {
    token: Buffer.from(
      JSON.stringify({
        fsid: 'f',
        client_id: 'rbd-mirror-peer',
        key: 'k'.repeat(43),
        mon_host: 'https://nowhere.test',
      }),
    ).toString('base64'),
    direction: 'rx-tx',
  },
  'PUT /v1/pools/:pool/mirror/retention': { keep: '24h,7d' },
  'PUT /v1/pools/:pool/images/:image/mirror/retention': { keep: '24h,7d' },
  'POST /v1/pools/:pool/mirror/peers': {
    cluster: 'b',
    direction: 'rx-only',
    monHost: 'https://nowhere.test',
    key: 'k'.repeat(43),
  },
  'PATCH /v1/pools/:pool/mirror/peers/:uuid': { key: 'client', value: 'x' },
  'POST /v1/pools/:pool/images/:image/mirror': { mode: 'snapshot' },
  'POST /v1/pools/:pool/images/:image/mirror/promote': { force: true },
  'POST /v1/pools/:pool/images/:image/journal/disconnect': { clientId: 'm' },
  'POST /v1/pools/:pool/images/:image/journal/advance': {
    epoch: '0123456789abcdef',
    seq: 3,
    entry: 12,
    record: true,
  },
  'POST /v1/schedules': { interval: '5m', startTime: '14:00' },
  'POST /v1/store:delete': { keys: ['pools/rbd/uploads/_/x.json'] },
  'POST /peer/v1/pools/:pool/register': {
    fsid: 'f',
    siteName: 'b',
    mirrorUuid: 'm',
    url: 'https://b.test',
    direction: 'rx-only',
    key: 'k'.repeat(43),
  },
  'POST /peer/v1/pools/:pool/images/:globalId/delta': { targetSnapId: 1, step: 0, held: [] },
  'POST /peer/v1/pools/:pool/images/:globalId/ack': {
    status: { state: 'replaying', description: 'd', updatedAtMs: 1 },
    synced: { snapId: 1, steps: 1 },
  },
  'POST /peer/v1/pools/:pool/wake': { globalIds: ['0123456789abcdef'] },
  'POST /peer/v1/pools/:pool/heartbeat': { siteName: 'b', cursor: 1 },
};

beforeAll(async () => {
  site = await startedSite();
  await site.ok('POST', '/v1/pools', { name: 'rbd' });
  await site.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
  const { token } = (await site.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
  const { key } = JSON.parse(Buffer.from(token, 'base64').toString());
  const registration = {
    fsid: 'f',
    siteName: 'b',
    mirrorUuid: 'm',
    url: 'https://b.test',
    direction: 'rx-tx',
    key: 'k'.repeat(43),
  };
  peerKey = (await site.ok('POST', '/peer/v1/pools/rbd/register', registration, key)).json.key;
});

beforeEach(async () => {
  await site.call('POST', '/v1/pools/rbd/images', { name: 'disk', sizeBytes: 2 ** 20 });
  await site.call('POST', '/v1/pools/rbd/images/disk/snaps', { name: 's' });
});

type Operation = { method: string; path: string };
/** The app lists an operation once for each of its validators. */
const operations = (): Operation[] => {
  const routes = site.app.routes.filter(({ method }) => method !== 'ALL').map(({ method, path }) => ({ method, path }));
  return [...new Map(routes.map((route) => [`${route.method} ${route.path}`, route])).values()];
};

const concrete = (path: string): string =>
  path
    .replace(':pool', 'rbd')
    .replace(':image', 'disk')
    .replace(':snap', 's')
    .replace(':section', 'global')
    .replace(':option', 'rbd_mirroring_max_mirroring_snapshots')
    .replace(':key', path.startsWith('/v1/store') ? encodeURIComponent('pools/rbd/uploads/_/x.json') : 'k')
    .replace(':seq', '1')
    .replace(/:(globalId|packId|epoch|id|uuid)/g, '0123456789abcdef');

const tokenFor = (path: string): string => (path.startsWith('/peer/') ? peerKey : adminToken);

type Sent = { body?: string | Uint8Array<ArrayBuffer>; headers?: Record<string, string> };

async function answersWell(operation: Operation, url: string, init: Sent): Promise<void> {
  const headers = {
    authorization: `Bearer ${tokenFor(operation.path)}`,
    'content-type': 'application/json',
    ...init.headers,
  };
  const request = new Request(`http://site-a.test${url}`, { ...init, method: operation.method, headers });
  const response = await site.site.fetch(request);
  const text = await response.text();
  const where = `${operation.method} ${url} ${Buffer.from(init.body ?? '')
    .toString()
    .slice(0, 300)} -> ${response.status} ${text.slice(0, 300)}`;
  expect(response.status, where).not.toBe(500);
  expect(isWellFormed(response.status, text), where).toBe(true);
}

/** A refusal is an errno name and a sentence. */
function isWellFormed(status: number, text: string): boolean {
  if (status < 400 || status === 416) return true;
  const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } };
  return typeof error?.code === 'string' && /^E[A-Z]+$/.test(error.code) && typeof error.message === 'string';
}

/** Values that are often handled badly. */
const nasty = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    -1,
    0,
    1.5,
    1e308,
    Number.MAX_SAFE_INTEGER,
    '',
    ' ',
    '..',
    '%',
    '\u0000',
    '🐛',
    '__proto__',
    'constructor',
    [],
    {},
    [[]],
    true,
    'a/b',
    'a@b',
    'x'.repeat(3000),
  ),
  fc.jsonValue(),
  fc.string({ unit: 'binary' }),
);

/** One field of the body replaced, removed or added; or the whole replaced. */
const mutated = (body: unknown): fc.Arbitrary<unknown> => {
  const fields = Object.keys(body as object);
  return fc.oneof(
    nasty,
    fc.tuple(fc.constantFrom(...fields), nasty).map(([field, value]) => ({ ...(body as object), [field]: value })),
    fc
      .constantFrom(...fields)
      .map((field) => Object.fromEntries(Object.entries(body as object).filter(([name]) => name !== field))),
    fc.tuple(fc.string(), nasty).map(([field, value]) => ({ ...(body as object), [field]: value })),
  );
};

test('fuzz: every operation with a body is in the table of good ones', () => {
  const withBody = operations().filter(
    ({ method, path }) => goodBodies[`${method} ${path}`] === undefined && ['PUT', 'PATCH'].includes(method),
  );
  expect(withBody.map(({ method, path }) => `${method} ${path}`)).toEqual(['PUT /v1/store/:key']);
});

test('fuzz: mutated bodies never give a 500', async () => {
  for (const operation of operations()) {
    const good = goodBodies[`${operation.method} ${operation.path}`];
    if (good === undefined) continue;
    const property = fc.asyncProperty(mutated(good), (body) =>
      answersWell(operation, concrete(operation.path), { body: JSON.stringify(body) }),
    );
    await fc.assert(property, { numRuns: 60 });
  }
});

test('fuzz: bytes that are no JSON never give a 500', async () => {
  for (const operation of operations().filter(({ method }) => method !== 'GET')) {
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) =>
      answersWell(operation, concrete(operation.path), { body: new Uint8Array(bytes) }),
    );
    await fc.assert(property, { numRuns: 20 });
  }
});

test('fuzz: random names in paths never give a 500', async () => {
  const name = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1 }).map((text) => encodeURIComponent(text.toWellFormed())),
    fc.stringMatching(/^[%a-zA-Z0-9._~-]{1,40}$/),
  );
  for (const operation of operations()) {
    if (!operation.path.includes(':')) continue;
    const body = goodBodies[`${operation.method} ${operation.path}`];
    const property = fc.asyncProperty(fc.array(name, { minLength: 4, maxLength: 4 }), async (names) => {
      let index = 0;
      // Peers are authenticated by the pool, so theirs stays.
      const path = operation.path.replace(/\/:([a-zA-Z]+)/g, (_, parameter) =>
        parameter === 'pool' && operation.path.startsWith('/peer/') ? '/rbd' : `/${names[index++]}`,
      );
      await answersWell(operation, path, body === undefined ? {} : { body: JSON.stringify(body) });
    });
    await fc.assert(property, { numRuns: 40 });
  }
});

test('fuzz: random queries and headers never give a 500', async () => {
  const field = fc.constantFrom(
    'namespace',
    'snap',
    'all',
    'force',
    'after',
    'limit',
    'from',
    'pool',
    'image',
    'recursive',
    'verbose',
    'interval',
    'startTime',
    'prefix',
  );
  const headers = fc.record(
    {
      range: fc.constantFrom('bytes=0-1', 'bytes=-5', 'bytes=9-1', 'x', 'bytes=0-99999999999999999'),
      'if-match': fc.constantFrom('"x"', 'x', '*', 'W/"x"'),
      'if-none-match': fc.constantFrom('*', '"x"'),
    },
    { requiredKeys: [] },
  );
  for (const operation of operations()) {
    const property = fc.asyncProperty(
      fc.dictionary(field, fc.string({ unit: 'binary' })),
      headers,
      async (query, extra) => {
        const search = new URLSearchParams(query).toString();
        await answersWell(operation, `${concrete(operation.path)}?${search}`, { headers: extra });
      },
    );
    await fc.assert(property, { numRuns: 40 });
  }
});

test('fuzz: random messages are acknowledged, retried or refused, never thrown', async () => {
  const type = fc.constantFrom('snapshot', 'delta', 'sync', 'apply', 'complete', 'poll', 'collect', 'remove', 'other');
  const fields = fc.dictionary(
    fc.constantFrom(
      'pool',
      'imageId',
      'peerUuid',
      'globalId',
      'syncId',
      'step',
      'piece',
      'packs',
      'last',
      'run',
      'slotMs',
      'targetSnapId',
      'deltaId',
    ),
    fc.oneof(nasty, fc.constantFrom<unknown>('rbd', '0123456789abcdef01234567', 0)),
  );
  const property = fc.asyncProperty(type, fields, async (kind, rest) => {
    const outcome = await site.site.handle({ ...rest, type: kind });
    expect(['ack', 'retry']).toContain(outcome.kind);
  });
  await fc.assert(property, { numRuns: 300 });
});
