// Images, snapshots and metadata through the API: codes, shapes, awkward names.

import { beforeEach, expect, test } from 'vitest';

import { errnoOf, FarsideError, type ErrorCode } from '../../lib/errors.ts';
import { answerError, statusOf } from '../../lib/site/api/errors.ts';
import { newApi } from '../../lib/site/api/routing.ts';
import { TestSite } from './harness.ts';

let site: TestSite;
const images = '/v1/pools/rbd/images';

beforeEach(async () => {
  site = new TestSite();
  await site.ok('POST', '/v1/pools', { name: 'rbd' });
});

const code = async (method: string, path: string, body?: unknown): Promise<string> =>
  (await site.call(method, path, body)).json?.error?.code;

test('images: created, listed, shown, resized, renamed, removed', async () => {
  const { id } = (await site.ok('POST', images, { name: 'a', sizeBytes: 2 ** 30, objectBytes: 2 ** 20 })).json;
  expect((await site.ok('GET', `${images}/a`)).json).toMatchObject({
    id,
    name: 'a',
    size: 2 ** 30,
    order: 20,
    objects: 1024,
  });
  await site.ok('POST', `${images}/a/resize`, { sizeBytes: 2 ** 31 });
  await site.ok('PATCH', `${images}/a`, { name: 'b' });
  expect((await site.ok('GET', images)).json).toEqual({ images: [{ image: 'b', id, size: 2 ** 31, format: 2 }] });
  await site.ok('DELETE', `${images}/b`);
  expect((await site.ok('GET', images)).json).toEqual({ images: [] });
  expect(site.queue.sent).toEqual([{ type: 'remove', imageId: id }]);
  expect(await site.site.handle(site.queue.sent[0])).toEqual({ kind: 'ack' });
  expect((await site.bucket.list({ prefix: 'images/', limit: 10 })).objects).toEqual([]);
});

test('images: names with spaces, percent signs, unicode and URL syntax work in paths', async () => {
  for (const name of [
    'a b',
    '100%',
    '%41',
    'a%2Fb',
    'ü/'.slice(0, 1),
    '漢字',
    '💾',
    'a?b#c',
    'a+b&c=d',
    '..a',
    'a.json',
    ';:,$',
    'q"uote',
    '%',
  ]) {
    await site.ok('POST', images, { name, sizeBytes: 1 });
    const path = `${images}/${encodeURIComponent(name)}`;
    expect((await site.ok('GET', path)).json.name).toBe(name);
    await site.ok('POST', `${path}/snaps`, { name });
    expect((await site.ok('GET', `${path}?snap=${encodeURIComponent(name)}`)).json.protected).toBe('false');
    await site.ok('PATCH', `${path}/snaps/${encodeURIComponent(name)}`, { protected: true });
    await site.ok('PUT', `${path}/meta/${encodeURIComponent(name)}`, { value: name });
    expect((await site.ok('GET', `${path}/meta/${encodeURIComponent(name)}`)).json).toEqual({ value: name });
  }
});

test('images: one name in two namespaces is two images', async () => {
  await site.ok('POST', images, { name: 'a', sizeBytes: 1 });
  await site.ok('POST', '/v1/pools/rbd/namespaces', { name: 'n 1' });
  await site.ok('POST', `${images}?namespace=n%201`, { name: 'a', sizeBytes: 2 });
  expect((await site.ok('GET', `${images}/a`)).json.size).toBe(1);
  expect((await site.ok('GET', `${images}/a?namespace=n%201`)).json.size).toBe(2);
  expect((await site.ok('GET', `${images}?namespace=n%201`)).json.images).toHaveLength(1);
});

test('images: every refusal has its code', async () => {
  await site.ok('POST', images, { name: 'a', sizeBytes: 10 });
  await site.ok('POST', `${images}/a/snaps`, { name: 's' });
  expect(await code('POST', images, { name: 'a', sizeBytes: 1 })).toBe('EEXIST');
  expect(await code('POST', images, { name: 'a/b', sizeBytes: 1 })).toBe('EINVAL');
  expect(await code('POST', images, { name: 'b', sizeBytes: -1 })).toBe('EINVAL');
  expect(await code('POST', images, { name: 'b', sizeBytes: 1, objectBytes: 5000 })).toBe('EDOM');
  expect(await code('POST', '/v1/pools/nopool/images', { name: 'b', sizeBytes: 1 })).toBe('ENOENT');
  expect(await code('GET', '/v1/pools/nopool/images')).toBe('ENOENT');
  expect(await code('GET', `${images}/no`)).toBe('ENOENT');
  expect(await code('GET', `${images}/a?snap=no`)).toBe('ENOENT');
  expect(await code('POST', `${images}/a/resize`, { sizeBytes: 1 })).toBe('EINVAL');
  expect(await code('DELETE', `${images}/a`)).toBe('ENOTEMPTY');
  expect(await code('POST', `${images}/a/snaps`, { name: 's' })).toBe('EEXIST');
  expect(await code('PATCH', `${images}/a/snaps/s`, {})).toBe('EINVAL');
  expect(await code('PATCH', `${images}/a/snaps/s`, { name: 'x', protected: true })).toBe('EINVAL');
  await site.ok('PATCH', `${images}/a/snaps/s`, { protected: true });
  expect(await code('DELETE', `${images}/a/snaps/s`)).toBe('EBUSY');
  expect((await site.ok('DELETE', `${images}/a/snaps`)).json).toEqual({ removed: [], protected: ['s'] });
  expect(await code('GET', `${images}/a/meta/no`)).toBe('ENOENT');
  expect(await code('GET', `${images}?limit=0`)).toBe('EINVAL');
  expect(await code('GET', `${images}/a/snaps?all=yes`)).toBe('EINVAL');
  expect(await code('POST', '/v1/pools', { name: 'rbd' })).toBe('EEXIST');
  expect(await code('DELETE', '/v1/pools/rbd')).toBe('ENOTEMPTY');
});

test('snapshots: created, listed, renamed, rolled back, removed', async () => {
  await site.ok('POST', images, { name: 'a', sizeBytes: 10 });
  expect((await site.ok('POST', `${images}/a/snaps`, { name: 's' })).json).toEqual({ id: 1 });
  await site.ok('POST', `${images}/a/resize`, { sizeBytes: 20 });
  await site.ok('PATCH', `${images}/a/snaps/s`, { name: 't' });
  await site.ok('POST', `${images}/a/snaps/t/rollback`);
  expect((await site.ok('GET', `${images}/a`)).json.size).toBe(10);
  await site.ok('DELETE', `${images}/a/snaps/t`);
  expect((await site.ok('GET', `${images}/a/snaps`)).json).toEqual([]);
});

test('images: a collection is started in the background', async () => {
  const { id } = (await site.ok('POST', images, { name: 'a', sizeBytes: 10 })).json;
  const { run } = (await site.ok('POST', `${images}/a/collect`)).json;
  expect(site.queue.sent).toEqual([{ type: 'collect', imageId: id, run, step: 0 }]);
});

test('bodies: malformed, missing, of another type or too large are refused by kind', async () => {
  const send = (body: BodyInit | null, type: string | null): Promise<Response> => {
    const headers: Record<string, string> = {
      authorization: 'Bearer admin-token-of-the-tests',
      ...(type === null ? {} : { 'content-type': type }),
    };
    return site.site.fetch(new Request(`http://site-a.test${images}`, { method: 'POST', headers, body }));
  };
  expect((await send('{', 'application/json')).status).toBe(400);
  expect((await send(null, null)).status).toBe(400);
  expect((await send('name=a', 'application/x-www-form-urlencoded')).status).toBe(415);
  const large = await send(`"${'x'.repeat(5 * 2 ** 20)}"`, 'application/json');
  expect(large.status).toBe(413);
  expect(((await large.json()) as { error: { code: string } }).error.code).toBe('EFBIG');
});

test('errors: every code has a status and leaves the API as it is', async () => {
  for (const one of Object.keys(errnoOf) as ErrorCode[]) {
    const api = newApi();
    api.onError((error, c) => answerError(c, error, () => {}));
    api.get('/', () => {
      throw new FarsideError(one, 'why', { retry: 'later' });
    });
    const response = await api.request('/');
    expect(response.status).toBe(statusOf[one]);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await response.json()).toEqual({ error: { code: one, message: 'why' } });
  }
});
