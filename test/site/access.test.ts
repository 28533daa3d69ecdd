// Every route of the API is closed unless it is on the public list: the routes are enumerated from the app itself.

import { beforeAll, describe, expect, test } from 'vitest';

import { publicPaths } from '../../lib/site/api/access.ts';
import { startedSite, type StartedSite } from './started-site.ts';

let site: StartedSite;
let poolToken: string;
let otherToken: string;

beforeAll(async () => {
  site = await startedSite();
  await site.ok('POST', '/v1/pools', { name: 'rbd' });
  await site.ok('POST', '/v1/pools', { name: 'other' });
  await site.ok('POST', '/v1/pools/rbd/images', { name: 'disk', sizeBytes: 1 });
  poolToken = await site.clientToken('rbd');
  otherToken = await site.clientToken('other');
});

type Route = { method: string; path: string };

/** Method and path of every route, parameters filled in. Middleware has the method ALL. */
const routes = (): Route[] => {
  const found = site.app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => ({ method, path: filled(path) }));
  return [...new Map(found.map((route) => [`${route.method} ${route.path}`, route])).values()];
};

const filled = (path: string): string =>
  path
    .replace(':pool', 'rbd')
    .replace(
      ':key',
      path.startsWith('/v1/store') ? encodeURIComponent('images/0123456789abcdef01234567/header.json') : 'k',
    )
    .replace(/:(globalId|packId|id|uuid)/g, '0123456789abcdef')
    .replace(/\/:[a-zA-Z]+/g, '/disk');

const isPublic = ({ path }: Route): boolean => publicPaths.includes(path);
const closed = (): Route[] => routes().filter((route) => !isPublic(route));
const bodyOf = ({ method }: Route): unknown => (method === 'GET' || method === 'DELETE' ? undefined : {});

test('routes: there are as many as the API list promises', () => {
  expect(routes().length).toBeGreaterThan(45);
  expect(
    routes()
      .filter(isPublic)
      .map(({ path }) => path)
      .toSorted(),
  ).toEqual([...publicPaths].toSorted());
});

test('routes: without a token every one that is not public answers 401 and says nothing else', async () => {
  for (const route of closed()) {
    const answer = await site.call(route.method, route.path, bodyOf(route), null);
    expect({ route, status: answer.status, code: answer.json?.error.code }).toEqual({
      route,
      status: 401,
      code: 'EACCES',
    });
    expect(answer.headers.get('www-authenticate')).toBe('Bearer');
  }
});

test.each(['nonsense', `farside_0123456789abcdef_${'A'.repeat(43)}`, '%%%', 'a b', 'x'.repeat(5000)])(
  'routes: token %s is nobody',
  async (token) => {
    for (const route of closed()) {
      const answer = await site.call(route.method, route.path, bodyOf(route), token);
      expect({ route, status: answer.status }).toEqual({
        route,
        status: route.path.endsWith('/register') ? answer.status : 401,
      });
      expect([401, 404]).toContain(answer.status);
    }
  },
);

test('routes: not a byte of a stranger’s body is read, announced or not', async () => {
  for (const path of [
    '/v1/pools',
    '/v1/store:delete',
    '/v1/store/x',
    '/peer/v1/pools/rbd/wake',
    '/peer/x',
    '/nowhere',
  ]) {
    let pulls = 0;
    const pull = (controller: ReadableStreamDefaultController): void => {
      pulls += 1;
      controller.enqueue(new Uint8Array(1024));
    };
    const body = new ReadableStream({ pull }, { highWaterMark: 0 });
    const init = { method: 'POST', body, duplex: 'half', headers: { 'content-type': 'application/json' } };
    const response = await site.site.fetch(new Request(`http://site-a.test${path}`, init));
    expect({ path, status: response.status, pulls }).toEqual({ path, status: 401, pulls: 0 });
  }
});

test('routes: a token of another pool, or of the wrong kind, answers 403 everywhere', async () => {
  for (const route of closed()) {
    const path =
      route.path === '/v1/store' ? `${route.path}?prefix=${encodeURIComponent('pools/rbd/names/')}` : route.path;
    const body = route.path === '/v1/store:delete' ? { keys: ['pools/rbd/pool.json'] } : bodyOf(route);
    const storeKey = path.replace(/images.*$/, encodeURIComponent('pools/rbd/pool.json'));
    const target = path.startsWith('/v1/store/') ? storeKey : path;
    const answer = await site.call(route.method, target, body, otherToken);
    expect({ route, status: answer.status, code: answer.json?.error.code }).toEqual({
      route,
      status: 403,
      code: 'EPERM',
    });
  }
});

test('routes: what is the admin’s alone answers 403 to a token of the pool', async () => {
  const adminOnly: Route[] = [
    { method: 'GET', path: '/v1/site' },
    { method: 'GET', path: '/v1/tokens' },
    { method: 'POST', path: '/v1/tokens' },
    { method: 'DELETE', path: '/v1/tokens/0123456789abcdef' },
    { method: 'GET', path: '/v1/pools' },
    { method: 'POST', path: '/v1/pools' },
    { method: 'DELETE', path: '/v1/pools/rbd' },
    { method: 'GET', path: '/v1/failures' },
    { method: 'DELETE', path: '/v1/failures' },
    { method: 'PUT', path: '/v1/pools/rbd/mirror' },
    { method: 'DELETE', path: '/v1/pools/rbd/mirror' },
    { method: 'POST', path: '/v1/pools/rbd/mirror/bootstrap' },
    { method: 'POST', path: '/v1/pools/rbd/mirror/bootstrap/import' },
    { method: 'DELETE', path: '/v1/pools/rbd/mirror/peers/71249ac3-c569-4c3d-a9d0-50c2f0482888' },
    { method: 'GET', path: '/v1/schedules' },
    { method: 'POST', path: '/v1/schedules?pool=other' },
    { method: 'GET', path: '/v1/purge-schedules' },
    { method: 'DELETE', path: '/v1/purge-schedules?pool=other' },
  ];
  for (const route of adminOnly) {
    const answer = await site.call(route.method, route.path, bodyOf(route), poolToken);
    expect({ route, status: answer.status }).toEqual({ route, status: 403 });
  }
});

test('routes: unknown paths tell strangers nothing, and friends that they do not exist', async () => {
  expect((await site.call('GET', '/v1/nothing', undefined, null)).status).toBe(401);
  expect((await site.call('GET', '/v1/nothing')).status).toBe(404);
  expect((await site.call('GET', '/HEALTH', undefined, null)).status).toBe(401);
  expect((await site.call('GET', '/health/', undefined, null)).status).toBe(401);
  expect((await site.call('GET', '//v1/site', undefined, null)).status).toBe(401);
  for (const path of ['/peer', '/peer/v1/nothing', '/peer/v1/pools', '/peer/v1/pools/rbd', '/peer/v2/pools/rbd/feed'])
    expect({ path, status: (await site.call('GET', path, undefined, null)).status }).toEqual({ path, status: 401 });
});

describe('tokens', () => {
  test('tokens: a pool token works for its pool only, is listed without its secret, and is gone after removal', async () => {
    const { id, token } = (await site.ok('POST', '/v1/tokens', { scope: 'pool:rbd' })).json;
    expect((await site.call('GET', '/v1/pools/rbd/images', undefined, token)).status).toBe(200);
    expect((await site.call('GET', '/v1/pools/other/images', undefined, token)).status).toBe(403);
    const listed = await site.ok('GET', '/v1/tokens');
    expect(listed.json.find((one: { id: string }) => one.id === id)).toMatchObject({ scope: 'pool:rbd' });
    expect(listed.text).not.toContain(token.slice(token.length - 43));
    await site.ok('DELETE', `/v1/tokens/${id}`);
    site.clock.setMs(site.clock.nowMs() + 5001);
    expect((await site.call('GET', '/v1/pools/rbd/images', undefined, token)).status).toBe(401);
    expect((await site.call('DELETE', `/v1/tokens/${id}`)).json.error.code).toBe('ENOENT');
  });

  test('tokens: one made with scope admin may do everything, until it expires', async () => {
    const { token } = (await site.ok('POST', '/v1/tokens', { scope: 'admin', expiresInSeconds: 60 })).json;
    expect((await site.call('GET', '/v1/pools', undefined, token)).status).toBe(200);
    site.clock.setMs(site.clock.nowMs() + 60_000);
    expect((await site.call('GET', '/v1/pools', undefined, token)).status).toBe(401);
  });

  test('tokens: refusals', async () => {
    for (const scope of ['', 'root', 'pool:', 'pool']) {
      expect((await site.call('POST', '/v1/tokens', { scope })).json.error.code).toBe('EINVAL');
    }
    expect((await site.call('POST', '/v1/tokens', { scope: 'pool:nopool' })).json.error.code).toBe('ENOENT');
  });

  test('tokens: no secret is in the bucket', async () => {
    const { token } = (await site.ok('POST', '/v1/tokens', { scope: 'admin' })).json;
    const found = await site.bucket.get('site.json');
    const text = found.status === 'found' ? new TextDecoder().decode(found.body) : '';
    expect(text).toContain('"hash"');
    expect(text).not.toContain(token.slice(token.length - 43));
    expect(text).not.toContain(site.config.secret);
  });

  test('tokens: a burst of requests reads the token’s document once', async () => {
    const token = await site.clientToken('rbd');
    await site.call('GET', '/v1/pools/rbd/images/disk', undefined, token);
    const before = site.bucket.counts();
    for (let index = 0; index < 10; index++) await site.call('GET', '/v1/pools/rbd/images/disk', undefined, token);
    expect(site.bucket.counts().B - before.B).toBe(20); // name and header each time
  });
});

test('answers: carry the security headers, and never a stack or a secret', async () => {
  const answer = await site.call('GET', '/v1/pools/rbd/images/no-such-image');
  expect(answer.status).toBe(404);
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.json).toEqual({ error: { code: 'ENOENT', message: 'error opening image no-such-image' } });
});

test('answers: a bug is logged, and answered without its text', async () => {
  const broken = await startedSite();
  broken.driver.get = async () => {
    throw new Error('secret detail');
  };
  const answer = await broken.call('GET', '/v1/pools');
  expect(answer.status).toBe(500);
  expect(answer.text).not.toContain('secret detail');
  expect(broken.log.join()).toContain('secret detail');
});
