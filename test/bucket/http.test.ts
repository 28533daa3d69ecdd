import { once } from 'node:events';
import net from 'node:net';

import { serve, type ServerType } from '@hono/node-server';
import type { OpenAPIHono } from '@hono/zod-openapi';
import { Hono } from 'hono';
import { afterEach, describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { systemClock } from '../../lib/clock.ts';
import { type ErrorCode, FarsideError, type Retry } from '../../lib/errors.ts';
import { systemRandom } from '../../lib/random.ts';
import { storeRoutes, type StoreRoutesOptions } from '../../lib/site/api/store.ts';
import { describeBucket } from './conformance.ts';

const token = 'secret-token';
const deps = { clock: systemClock, random: systemRandom };

async function listen(app: {
  fetch: (request: Request) => Response | Promise<Response>;
}): Promise<{ url: string; server: ServerType }> {
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' });
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, server };
}

async function close(server: ServerType): Promise<void> {
  (server as unknown as { closeAllConnections(): void }).closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

describeBucket('http', async () => {
  const store = new MemoryDriver(systemClock);
  const { url, server } = await listen(
    storeRoutes({ storeOf: () => store, authorize: () => undefined, isKey: () => true }),
  );
  return { open: () => new HttpDriver({ url, token, fetch }), close: () => close(server) };
});

type Access = { keyOrPrefix: string; access: 'read' | 'write' };

/** Routes and a driver that talk without a network; `asked` is what authorize was asked. */
function wire(options: Partial<StoreRoutesOptions<object>> = {}): {
  app: OpenAPIHono;
  driver: HttpDriver;
  asked: Access[];
  store: MemoryDriver;
} {
  const store = new MemoryDriver(systemClock);
  const asked: Access[] = [];
  const authorize = (_: unknown, keyOrPrefix: string, access: 'read' | 'write'): void =>
    void asked.push({ keyOrPrefix, access });
  const app = storeRoutes({ storeOf: () => store, authorize, ...options }) as OpenAPIHono;
  const driver = new HttpDriver({
    url: 'http://site/',
    token,
    fetch: async (url, init) => app.request(url, init),
  });
  return { app, driver, asked, store };
}

const failing = (code: ErrorCode, retry: Retry): Driver => {
  const fail = (): never => {
    throw new FarsideError(code, 'made to fail', { retry });
  };
  return { kind: 'memory', get: fail, head: fail, put: fail, delete: fail, list: fail };
};

describe('store endpoint', () => {
  const name = keyText({ kind: 'name', pool: 'rbd/..%2F', namespace: '文', image: 'disk %41/é.raw' });
  const site = keyText({ kind: 'site' });

  test('keys with percent escapes arrive as they were sent', async () => {
    const { driver, store } = wire();
    await driver.put(name, Buffer.from('x'), 'absent');
    expect((await store.list({ prefix: '', limit: 10 })).objects.map((object) => object.key)).toEqual([name]);
    expect(await driver.get(name)).toMatchObject({ status: 'found' });
  });

  test('text that is no key of farside is refused before anyone is asked', async () => {
    const { driver, asked } = wire();
    for (const wrong of ['etc/passwd', '../site.json', 'images/x', `${site}/`, 'pools/%2/pool.json']) {
      await expect(driver.get(wrong)).rejects.toMatchObject({ code: 'EINVAL', retry: 'never' });
      await expect(driver.put(wrong, new Uint8Array(), 'absent')).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(driver.delete([site, wrong])).rejects.toMatchObject({ code: 'EINVAL' });
    }
    expect(asked.every(({ keyOrPrefix }) => keyOrPrefix === site)).toBe(true);
  });

  test('authorize is asked for every key and prefix, with the access wanted', async () => {
    const { app, driver, asked } = wire();
    await driver.get(site);
    await driver.head(site);
    await driver.put(site, new Uint8Array(), 'absent');
    await driver.list({ prefix: 'images/', limit: 1 });
    await driver.delete([site, name]);
    await app.request(`/v1/store/${encodeURIComponent(site)}`, { method: 'DELETE' });
    expect(asked).toEqual([
      { keyOrPrefix: site, access: 'read' },
      { keyOrPrefix: site, access: 'read' },
      { keyOrPrefix: site, access: 'write' },
      { keyOrPrefix: 'images/', access: 'read' },
      { keyOrPrefix: site, access: 'write' },
      { keyOrPrefix: name, access: 'write' },
      { keyOrPrefix: site, access: 'write' },
    ]);
  });

  test('what authorize refuses does not reach the bucket', async () => {
    const authorize = (): never => {
      throw new FarsideError('EACCES', 'read-only token');
    };
    const { driver, store } = wire({ authorize });
    await store.put(site, Buffer.from('x'), 'absent');
    const calls = [
      driver.get(site),
      driver.head(site),
      driver.put(name, new Uint8Array(), 'absent'),
      driver.delete([site]),
      driver.list({ prefix: '', limit: 1 }),
    ];
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'EACCES', retry: 'never' });
    expect((await store.list({ prefix: '', limit: 10 })).objects.map((object) => object.key)).toEqual([site]);
  });

  test('a body beyond the limit is refused with EFBIG', async () => {
    const { driver } = wire();
    const body = new Uint8Array(32 * 1024 * 1024 + 1);
    await expect(driver.put(site, body, 'absent')).rejects.toMatchObject({ code: 'EFBIG', retry: 'never' });
  });

  test.each([
    ['If-None-Match by tag', 'PUT', { 'if-none-match': '"abc"' }],
    ['both conditions', 'PUT', { 'if-none-match': '*', 'if-match': '"abc"' }],
    ['If-Match: *', 'PUT', { 'if-match': '*' }],
    ['an unquoted tag', 'PUT', { 'if-match': 'abc' }],
    ['several ranges', 'GET', { range: 'bytes=0-1,3-4' }],
    ['a suffix range', 'GET', { range: 'bytes=-5' }],
    ['a reversed range', 'GET', { range: 'bytes=5-3' }],
  ])('%s is answered with 400, not guessed at', async (_, method, headers) => {
    const { app } = wire();
    const response = await app.request(`/v1/store/${site}`, {
      method,
      headers,
      ...(method === 'PUT' && { body: 'x' }),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'EINVAL' } });
  });

  test('a malformed query or batch is answered with 400', async () => {
    const { app } = wire();
    const json = { 'content-type': 'application/json' };
    expect((await app.request('/v1/store?limit=0')).status).toBe(400);
    expect((await app.request('/v1/store?limit=1001')).status).toBe(400);
    expect((await app.request('/v1/store:delete', { method: 'POST', headers: json, body: '{"keys":1}' })).status).toBe(
      400,
    );
    expect((await app.request('/v1/store:delete', { method: 'POST', headers: json, body: '{' })).status).toBe(400);
    const keys = Array.from({ length: 1001 }, () => site);
    expect(
      (await app.request('/v1/store:delete', { method: 'POST', headers: json, body: JSON.stringify({ keys }) })).status,
    ).toBe(400);
  });

  test('ranges speak HTTP: 206 with Content-Range, 416 with the size', async () => {
    const { app, store } = wire();
    await store.put(site, Buffer.from('0123456789'), 'absent');
    const part = await app.request(`/v1/store/${site}`, { headers: { range: 'bytes=8-20' } });
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([206, 'bytes 8-9/10', '89']);
    const past = await app.request(`/v1/store/${site}`, { headers: { range: 'bytes=10-20' } });
    expect([past.status, past.headers.get('content-range'), await past.text()]).toEqual([416, 'bytes */10', '']);
  });

  test('over a Bucket it does the same, but takes no put without a condition', async () => {
    const bucket = new Bucket(new MemoryDriver(systemClock), deps);
    const { driver } = wire({ storeOf: () => bucket });
    const first = await driver.put(site, Buffer.from('one'), 'absent');
    expect(first).toMatchObject({ status: 'stored' });
    expect(await driver.put(site, Buffer.from('two'), 'absent')).toEqual({ status: 'refused' });
    const { etag } = first as { etag: string };
    expect(await driver.put(site, Buffer.from('two'), { etag })).toMatchObject({ status: 'stored' });
    expect(await driver.put(site, Buffer.from('three'), { etag })).toEqual({ status: 'refused' });
    await expect(driver.put(site, Buffer.from('four'), 'none')).rejects.toMatchObject({ code: 'EINVAL' });
    expect((await driver.list({ prefix: '', limit: 5 })).objects).toMatchObject([{ key: site, bytes: 3 }]);
    await driver.delete([site]);
    expect(await driver.head(site)).toBeUndefined();
  });

  test.each([
    ['EAGAIN', 'now', 409],
    ['EAGAIN', 'later', 503],
    ['ETIMEDOUT', 'later', 503],
    ['EROFS', 'never', 403],
    ['EBADMSG', 'never', 500],
    ['ENOSPC', 'never', 500],
  ] as const)(
    "the site's %s (%s) is answered with %i and reaches the client as it was",
    async (code, retry, status) => {
      const { app, driver } = wire({ storeOf: () => failing(code, retry) });
      expect((await app.request('/v1/store')).status).toBe(status);
      await expect(driver.list({ prefix: '', limit: 1 })).rejects.toMatchObject({
        code,
        retry,
        message: expect.stringContaining('made to fail'),
      });
    },
  );

  test('a bug is left to the site that the routes are mounted in', async () => {
    const site = new Hono();
    site.onError((error, c) => c.text(`site says: ${error.message}`, 500));
    const buggy = (): never => {
      throw new RangeError('bug');
    };
    site.route('/', storeRoutes({ storeOf: buggy, authorize: () => undefined }));
    expect(await (await site.request('/v1/store')).text()).toBe('site says: bug');
  });

  test('the OpenAPI document names the routes', () => {
    const { app } = wire();
    const document = app.getOpenAPI31Document({ openapi: '3.1.0', info: { title: 'farside', version: '0' } });
    expect(Object.keys(document.paths ?? {}).toSorted()).toEqual(['/v1/store', '/v1/store/{key}', '/v1/store:delete']);
    expect(Object.keys(document.paths!['/v1/store/{key}']!).toSorted()).toEqual(['delete', 'get', 'put']);
  });
});

describe('http driver', () => {
  const answering = (response: () => Response): HttpDriver =>
    new HttpDriver({ url: 'http://site', token, fetch: async () => response() });
  let server: net.Server | undefined;
  afterEach(() => void server?.close());

  test('a refused connection is a passing fault, and the message holds no token', async () => {
    const { url, server: closed } = await listen(new Hono());
    await close(closed);
    const driver = new HttpDriver({ url, token, fetch });
    const fault = (await driver.get('site.json').catch((error: unknown) => error)) as FarsideError;
    expect(fault).toMatchObject({ code: 'ECONNREFUSED', retry: 'later' });
    expect(`${fault.message} ${fault.stack}`).not.toContain(token);
  });

  test('a connection lost before or in the middle of an answer is a passing fault', async () => {
    const cutting = ['', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\netag: "x"\r\n\r\nhalf'];
    server = net.createServer((socket) => socket.once('data', () => socket.end(cutting.shift() ?? '')));
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
    const driver = new HttpDriver({ url, token, fetch });
    await expect(driver.put('site.json', new Uint8Array(), 'absent')).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      retry: 'later',
    });
    await expect(driver.get('site.json')).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
  });

  test.each([
    [401, 'EACCES', 'never'],
    [403, 'EACCES', 'never'],
    [409, 'EAGAIN', 'now'],
    [413, 'EFBIG', 'never'],
    [418, 'EIO', 'never'],
    [429, 'EAGAIN', 'later'],
    [500, 'EIO', 'later'],
    [503, 'EIO', 'later'],
  ] as const)('a bare %i is %s, to be repeated %s', async (status, code, retry) => {
    const driver = answering(() => new Response('<html>', { status }));
    await expect(driver.get('site.json')).rejects.toMatchObject({ code, retry });
    await expect(driver.put('site.json', new Uint8Array(), 'absent')).rejects.toMatchObject({ code, retry });
    await expect(driver.list({ prefix: '', limit: 1 })).rejects.toMatchObject({ code, retry });
    await expect(driver.delete(['site.json'])).rejects.toMatchObject({ code, retry });
  });

  test('answers of something that is no farside site are reported as such', async () => {
    const driver = answering(() => new Response('<html>'));
    await expect(driver.get('site.json')).rejects.toMatchObject({ code: 'EBADMSG', retry: 'never' });
    await expect(driver.list({ prefix: '', limit: 1 })).rejects.toMatchObject({ code: 'EBADMSG' });
    await expect(driver.put('site.json', new Uint8Array(), 'absent')).rejects.toMatchObject({ code: 'EBADMSG' });
  });

  test('a tag made weak on the way is the same tag', async () => {
    const driver = answering(
      () =>
        new Response(null, { headers: { etag: 'W/"abc"', 'x-farside-bytes': '3', 'x-farside-uploaded-at-ms': '7' } }),
    );
    expect(await driver.head('site.json')).toEqual({ key: 'site.json', bytes: 3, etag: 'abc', uploadedAtMs: 7 });
  });
});
