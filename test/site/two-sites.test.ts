// Two sites over HTTP, in one process: bootstrap, replication, roles. What replication decides is tested in test/mirror; here it
// is the way through the API, the keys, and the transport.

import { createHash } from 'node:crypto';

import { beforeEach, expect, test } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { settingsDefault, type ImageDeps, type ImageSpec } from '../../lib/image/deps.ts';
import { openHeader } from '../../lib/image/images.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { systemRandom } from '../../lib/random.ts';
import { adminToken, type TestSite } from './harness.ts';
import { TestNetwork } from './network.ts';

const MiB = 2 ** 20;
const spec: ImageSpec = { pool: 'rbd', namespace: '', image: 'disk' };

let network: TestNetwork;
let a: TestSite;
let b: TestSite;

beforeEach(async () => {
  network = new TestNetwork();
  [a, b] = await network.addPair();
});

const clientDeps = (site: TestSite, token = adminToken): ImageDeps => ({
  bucket: new Bucket(new HttpDriver({ url: site.config.url, token, fetch: network.fetch }), {
    clock: site.clock,
    random: systemRandom,
  }),
  clock: site.clock,
  random: systemRandom,
  settings: settingsDefault,
});

/** Bytes that compress badly, the same for the same seed. */
const content = (seed: string, byteCount: number): Uint8Array => {
  const blocks: Buffer[] = [];
  for (let index = 0; index * 32 < byteCount; index++)
    blocks.push(createHash('sha256').update(`${seed} ${index}`).digest());
  return new Uint8Array(Buffer.concat(blocks).subarray(0, byteCount));
};

async function importInto(
  site: TestSite,
  bytes: Uint8Array,
  options: { update?: boolean; token?: string } = {},
): Promise<void> {
  const running = await startImport(clientDeps(site, options.token), spec, {
    update: options.update ?? false,
    compression: 'auto',
  });
  for (let at = 0; at < bytes.length; at += running.chunkBytes)
    await running.write(at, bytes.slice(at, at + running.chunkBytes));
  await running.finish(bytes.length);
}

async function exportFrom(site: TestSite): Promise<Uint8Array> {
  const deps = clientDeps(site);
  const { value } = await openHeader(deps, spec);
  const store = openStore(deps, value);
  return readRange(store, value.root, value.objectBytes, { offset: 0, length: value.sizeBytes });
}

async function makePeers(direction: 'rx-only' | 'rx-tx'): Promise<void> {
  await a.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
  const { token } = (await a.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
  await b.ok('POST', '/v1/pools/rbd/mirror/bootstrap/import', { token, direction });
}

test('two sites: an image imported through the store replicates byte for byte, and can take over', async () => {
  await makePeers('rx-tx');
  const first = content('one', 6 * MiB);
  await importInto(a, first);
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'snapshot' });
  await network.settle();
  expect(Buffer.compare(await exportFrom(b), first)).toBe(0);
  const info = (await b.ok('GET', '/v1/pools/rbd/images/disk')).json;
  expect(info).toMatchObject({ size: 6 * MiB, mirroring: { primary: false, mode: 'snapshot', state: 'enabled' } });

  const second = new Uint8Array(first);
  second.set(content('two', 4096), MiB);
  await importInto(a, second, { update: true });
  await a.ok('POST', '/v1/pools/rbd/images/disk/snaps', { name: 'user' });
  expect((await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/snapshot')).json.id).toBeGreaterThan(0);
  await network.settle();
  expect(Buffer.compare(await exportFrom(b), second)).toBe(0);
  expect((await b.ok('GET', '/v1/pools/rbd/images/disk/snaps')).json.map(({ name }: { name: string }) => name)).toEqual(
    ['user'],
  );

  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/demote');
  await network.settle();
  await b.ok('POST', '/v1/pools/rbd/images/disk/mirror/promote', {});
  await network.settle();
  const third = content('three', MiB);
  await importInto(b, third, { update: true });
  await b.ok('POST', '/v1/pools/rbd/images/disk/mirror/snapshot');
  await network.settle();
  expect(Buffer.compare(await exportFrom(a), third)).toBe(0);
  expect([a.log, b.log]).toEqual([[], []]);
});

test('two sites: an image that is attached through the store replicates from the slots of its journal', async () => {
  await makePeers('rx-tx');
  await importInto(a, content('one', 2 * MiB));
  const deps = clientDeps(a);
  const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
  const image = await AttachedImage.open(deps, spec, { owner, limits: attachLimitsDefault });
  await image.write(MiB, content('two', MiB / 2));
  await image.flush();
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'snapshot' });
  await network.settle();
  expect(Buffer.compare(await exportFrom(b), await image.read(0, 2 * MiB))).toBe(0);

  await image.write(MiB + 4096, content('three', 8192)); // a part of what lies in the slot before is still needed
  await image.flush();
  await image.write(0, content('four', MiB));
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/snapshot');
  await image.flush();
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/snapshot');
  await network.settle();
  expect(Buffer.compare(await exportFrom(b), await image.read(0, 2 * MiB))).toBe(0);

  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/demote');
  await expect(image.write(0, content('five', 512)).then(() => image.flush())).rejects.toMatchObject({
    code: 'ESHUTDOWN',
  });
  await network.settle();
  await b.ok('POST', '/v1/pools/rbd/images/disk/mirror/promote', {});
  expect(Buffer.compare(await exportFrom(b), await exportFrom(a))).toBe(0);
  expect([a.log, b.log]).toEqual([[], []]);
});

test('two sites: with every message lost, ticks alone bring the replica up to date', async () => {
  await makePeers('rx-only');
  await importInto(a, content('one', MiB));
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'snapshot' });
  for (let round = 0; round < 5; round++) {
    for (const site of [a, b]) {
      site.clock.setMs(site.clock.nowMs() + 60_000);
      await site.site.tick(site.clock.nowMs());
    }
    for (const site of [a, b]) site.queue.sent.length = 0;
  }
  expect(Buffer.compare(await exportFrom(b), content('one', MiB))).toBe(0);
});

test('two sites: a replica refuses every write, by the API and through the store', async () => {
  await makePeers('rx-only');
  await importInto(a, content('one', MiB));
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'snapshot' });
  await network.settle();
  const image = '/v1/pools/rbd/images/disk';
  const writes: [string, string, unknown][] = [
    ['PATCH', image, { name: 'other' }],
    ['POST', `${image}/resize`, { sizeBytes: 2 * MiB }],
    ['POST', `${image}/snaps`, { name: 's' }],
    ['PUT', `${image}/meta/k`, { value: 'v' }],
  ];
  for (const [method, path, body] of writes) expect((await b.call(method, path, body)).json.error.code).toBe('EROFS');
  expect((await b.call('DELETE', image)).json.error.code).toBe('EBUSY');
  await expect(importInto(b, content('x', MiB), { update: true })).rejects.toMatchObject({ code: 'EROFS' });
});

test('two sites: the bucket holds no key of either side in clear', async () => {
  await a.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
  const { token } = (await a.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
  const { key } = JSON.parse(Buffer.from(token, 'base64').toString());
  const seen: string[] = [];
  const spied = network.fetch;
  const spy: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    seen.push(request.headers.get('authorization')?.replace('Bearer ', '') ?? '');
    return spied(request);
  };
  Object.assign(network, { fetch: spy });
  await b.ok('POST', '/v1/pools/rbd/mirror/bootstrap/import', { token, direction: 'rx-tx' });
  await network.settle();
  for (const site of [a, b]) {
    const found = await site.bucket.get('pools/rbd/pool.json');
    const text = found.status === 'found' ? new TextDecoder().decode(found.body) : '';
    expect(text).toContain('sealedKey');
    for (const secret of [key, ...seen].filter((one) => one !== '')) expect(text).not.toContain(secret);
  }
});

test('two sites: a bootstrap key registers and does nothing else; a peer’s key does not register', async () => {
  await a.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
  const { token } = (await a.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
  const { key } = JSON.parse(Buffer.from(token, 'base64').toString());
  expect((await a.call('GET', '/peer/v1/pools/rbd/feed?from=0', undefined, key)).status).toBe(403);
  expect((await a.call('GET', '/v1/pools/rbd/images', undefined, key)).status).toBe(401);
  expect((await a.call('GET', '/peer/v1/pools/other/feed?from=0', undefined, key)).status).toBe(401);
  expect((await a.call('POST', '/peer/v1/pools/other/register', {}, key)).json.error.code).toBe('ENOENT');
  expect((await a.call('GET', '/peer/v1/pools/rbd/feed?from=0')).status).toBe(403);
});

test('two sites: an importer learns what is wrong with its token or its peer', async () => {
  const refuse = async (body: unknown, code: string): Promise<void> => {
    expect((await b.call('POST', '/v1/pools/rbd/mirror/bootstrap/import', body)).json.error.code).toBe(code);
  };
  await refuse({ token: 'nonsense!' }, 'EINVAL');
  await a.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
  const { token } = (await a.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
  network.down.add('site-a.test');
  await refuse({ token }, 'ECONNREFUSED');
  network.down.clear();
  for (const site of [a, b]) await site.ok('POST', '/v1/pools', { name: 'other' });
  await a.ok('PUT', '/v1/pools/other/mirror', { mode: 'image' });
  const misplaced = await b.call('POST', '/v1/pools/other/mirror/bootstrap/import', { token });
  expect(misplaced.json.error).toMatchObject({
    code: 'EACCES',
    message: expect.stringMatching(/^peer site-a\.test does not take this token for the pool: it is of another pool/),
  });
  await b.ok('POST', '/v1/pools/rbd/mirror/bootstrap/import', { token, direction: 'rx-only' });
  await refuse({ token }, 'EINVAL');
});

test('two sites: of a pack that is mostly overwritten already, only what is alive crosses the wire', async () => {
  await makePeers('rx-tx');
  const first = content('one', 6 * MiB);
  await importInto(a, first);
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'snapshot' });
  await network.settle();
  const overwritten = new Uint8Array(first);
  for (let at = 0; at < 6 * MiB; at += MiB) overwritten.set(content(`two ${at}`, 512 * 1024), at);
  await importInto(a, overwritten, { update: true });
  for (let at = 0; at < 5 * MiB; at += MiB) overwritten.set(content(`three ${at}`, 512 * 1024), at);
  await importInto(a, overwritten, { update: true });
  network.requests.length = 0;
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror/snapshot');
  await network.settle();
  expect(Buffer.compare(await exportFrom(b), overwritten)).toBe(0);
  expect(network.requests.filter((request) => request.endsWith('/entries'))).toHaveLength(1);
  await network.tick();
  const { description } = (await b.ok('GET', '/v1/pools/rbd/images/disk/mirror/status')).json;
  const { last_snapshot_bytes: bytes } = JSON.parse(description.slice(description.indexOf('{')));
  expect(bytes).toBeLessThan(3 * MiB * 1.05);
});

test('two sites: that both are primary is a warning at both, as soon as they see each other', async () => {
  await makePeers('rx-tx');
  await importInto(a, content('one', MiB));
  await a.ok('POST', '/v1/pools/rbd/images/disk/mirror', { mode: 'snapshot' });
  await network.settle();
  await network.tick();
  network.down.add('site-a.test');
  await b.ok('POST', '/v1/pools/rbd/images/disk/mirror/promote', { force: true });
  await b.ok('POST', '/v1/pools/rbd/images/disk/mirror/snapshot');
  await network.settle();
  network.down.clear();
  a.clock.setMs(a.clock.nowMs() + 60_000);
  await network.tick();
  await network.tick();
  for (const site of [a, b]) {
    const { warnings, summary } = (await site.ok('GET', '/v1/pools/rbd/mirror/status')).json;
    expect(warnings).toEqual(['image disk is primary on more than one site']);
    expect(summary).toMatchObject({ health: 'WARNING', states: { stopped: 1 } });
  }
});
