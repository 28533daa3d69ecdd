import { expect, test } from 'vitest';

import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { importBytes, seededRandom } from '../image/model.ts';
import { readHeader } from '../../lib/image/access.ts';
import { createImage } from '../../lib/image/images.ts';
import { settingsDefault } from '../../lib/image/deps.ts';
import { systemRandom } from '../../lib/random.ts';
import { TestNetwork } from './network.ts';
import type { TestSite } from './harness.ts';

const dayMs = 24 * 3600 * 1000;
const KiB = 1024;

async function siteWithPools(...pools: string[]): Promise<{ network: TestNetwork; site: TestSite }> {
  const network = new TestNetwork();
  const site = network.add('site-a');
  for (const name of pools) await site.ok('POST', '/v1/pools', { name });
  await network.tick();
  return { network, site };
}

const depsOf = (site: TestSite) => ({
  bucket: site.bucket,
  clock: site.clock,
  random: systemRandom,
  settings: settingsDefault,
});

async function afterDays(network: TestNetwork, site: TestSite, days: number, ticks = 4): Promise<void> {
  site.clock.setMs(site.clock.nowMs() + days * dayMs);
  for (let tick = 0; tick < ticks; tick++) await network.tick();
}

const packCount = async (site: TestSite): Promise<number> =>
  (await site.bucket.list({ prefix: prefixes.images, limit: 1000 })).objects.filter((object) =>
    object.key.includes('/packs/'),
  ).length;

test('dead data is collected by the daily round, without anybody asking', async () => {
  const { network, site } = await siteWithPools('another', 'rbd');
  await importBytes(depsOf(site), 'disk', seededRandom(1).bytes(512 * KiB));
  await importBytes(depsOf(site), 'disk', seededRandom(2).bytes(512 * KiB), { update: true });
  const before = await packCount(site);
  await afterDays(network, site, 2);
  expect(await packCount(site)).toBeLessThan(before);
});

test('a removal whose message was lost is found again', async () => {
  const { network, site } = await siteWithPools('rbd');
  await importBytes(depsOf(site), 'disk', seededRandom(1).bytes(64 * KiB));
  await site.ok('DELETE', '/v1/pools/rbd/images/disk');
  site.queue.sent.length = 0;
  expect(await packCount(site)).toBeGreaterThan(0);
  await afterDays(network, site, 2);
  expect((await site.bucket.list({ prefix: prefixes.images, limit: 10 })).objects).toEqual([]);
});

test('between rounds a tick reads one document more, whatever the number of images', async () => {
  const { network, site } = await siteWithPools('rbd');
  for (let i = 0; i < 30; i++) await site.ok('POST', '/v1/pools/rbd/images', { name: `i${i}`, sizeBytes: 0 });
  await network.tick();
  const before = site.bucket.counts();
  await network.tick();
  const after = site.bucket.counts();
  // Site, heartbeat twice, housekeeping; the site's schedules, the pool and its schedules, for purges of the trash.
  expect(after.A + after.B - before.A - before.B).toBeLessThanOrEqual(7);
});

test('images that have long been quiet are left alone', async () => {
  const { network, site } = await siteWithPools('rbd');
  await importBytes(depsOf(site), 'disk', seededRandom(1).bytes(64 * KiB));
  await afterDays(network, site, 10);
  const before = site.bucket.counts();
  await afterDays(network, site, 1, 1);
  expect(site.bucket.counts().A - before.A).toBeLessThanOrEqual(3);
  expect(await site.bucket.head(keyText({ kind: 'housekeeping' }))).toBeDefined();
});

test('in mode pool, an image with journaling that nobody told of is mirrored by the daily round', async () => {
  const { network, site } = await siteWithPools('rbd');
  await site.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'pool' });
  const features = ['exclusive-lock', 'journaling'];
  const imageId = await createImage(
    depsOf(site),
    { pool: 'rbd', namespace: '', image: 'disk' },
    { sizeBytes: 0, features },
  );
  const mirrorOf = async () => (await readHeader(depsOf(site), imageId))?.value.mirror;
  await network.tick();
  expect(await mirrorOf()).toBeUndefined();
  await afterDays(network, site, 2);
  expect(await mirrorOf()).toMatchObject({ mode: 'journal', state: 'enabled' });
});
