// Where a peer reads packs of a site on S3: at a URL for that one object, for reading, for a few minutes, and only if it is a peer's
// to read.

import { beforeAll, describe, expect, test } from 'vitest';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { prefixes } from '../../lib/bucket/keys.ts';
import { S3Driver } from '../../lib/bucket/s3.ts';
import { systemClock } from '../../lib/clock.ts';
import { settingsDefault } from '../../lib/image/deps.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { systemRandom } from '../../lib/random.ts';
import { freshS3, hasRadosgw } from '../radosgw/radosgw.ts';
import { TestSite } from './harness.ts';

const deps = { clock: systemClock, random: systemRandom };
const registration = {
  fsid: 'f',
  siteName: 'b',
  mirrorUuid: 'm',
  url: 'https://b.test',
  direction: 'rx-only',
  key: 'k'.repeat(43),
};

describe.skipIf(!hasRadosgw())('a pack of a site on S3', () => {
  let site: TestSite;
  let peerKey: string;
  let packPath: (image: string) => Promise<string>;

  beforeAll(async () => {
    const { credentials, ...store } = await freshS3();
    const bucket = new Bucket(new S3Driver({ ...store, credentials }), deps);
    // The driver of the site has credentials; what the site tells others has none.
    site = new TestSite({ bucket, config: { store: { kind: 's3', ...store } } });
    await site.site.start();
    await site.ok('POST', '/v1/pools', { name: 'rbd' });
    await site.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
    for (const image of ['mirrored', 'private']) {
      const options = { update: false, compression: 'none' } as const;
      const spec = { pool: 'rbd', namespace: '', image };
      const running = await startImport({ bucket, ...deps, settings: settingsDefault }, spec, options);
      await running.write(0, new Uint8Array(Buffer.alloc(100_000, image)));
      await running.finish(100_000);
    }
    await site.ok('POST', '/v1/pools/rbd/images/mirrored/mirror', { mode: 'snapshot' });
    const { token } = (await site.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
    const { key } = JSON.parse(Buffer.from(token, 'base64').toString());
    peerKey = (await site.ok('POST', '/peer/v1/pools/rbd/register', registration, key)).json.key;
    packPath = async (image) => {
      const { id } = (await site.ok('GET', `/v1/pools/rbd/images/${image}`)).json;
      const { objects } = await bucket.list({ prefix: prefixes.packs(id), limit: 1 });
      return `/peer/v1/pools/rbd/images/${id}/packs/${objects[0]!.key.split('/').at(-1)}`;
    };
  });

  const placeOf = async (image: string): Promise<URL> => {
    const answer = await site.call('GET', await packPath(image), undefined, peerKey);
    expect([answer.status, answer.text]).toEqual([307, '']);
    return new URL(answer.headers.get('location')!);
  };

  test('is read by its peer at a URL of its own, which is good for five minutes at most', async () => {
    const url = await placeOf('mirrored');
    expect(Number(url.searchParams.get('X-Amz-Expires'))).toBeLessThanOrEqual(300);
    const found = await fetch(url);
    expect(found.status).toBe(200);
    expect((await found.arrayBuffer()).byteLength).toBeGreaterThan(0);
  });

  test('and the URL is of no use for anything else: no write, no removal, no other object, no list', async () => {
    const url = await placeOf('mirrored');
    expect((await fetch(url, { method: 'PUT', body: 'x' })).status).toBe(403);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403);
    const [, bucket] = url.pathname.split('/');
    for (const path of [`/${bucket}`, `/${bucket}/site.json`, url.pathname.slice(0, -1)])
      expect((await fetch(new URL(`${path}${url.search}`, url))).status).toBe(403);
    expect((await fetch(url)).status).toBe(200);
  });

  test('of an image that is not mirrored has no URL, and nobody but a peer gets one', async () => {
    expect((await site.call('GET', await packPath('private'), undefined, peerKey)).status).toBe(404);
    const path = await packPath('mirrored');
    for (const token of [null, await site.clientToken('rbd')])
      expect((await site.call('GET', path, undefined, token)).headers.get('location')).toBeNull();
  });
});
