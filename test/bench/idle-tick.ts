// I11: what the ticks of idle sites cost, with 10 and with 1,000 mirrored images. In process, on buckets in memory, so that
// a thousand images take seconds; requests are counted by the same Bucket as everywhere. On S3 the many are fewer.

import { Bucket } from '../../lib/bucket/bucket.ts';
import { S3Driver } from '../../lib/bucket/s3.ts';
import { systemClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { TestNetwork } from '../site/network.ts';
import type { TestSite } from '../site/harness.ts';
import type { Peered } from './peered.ts';
import type { Figure } from './report.ts';
import type { Store } from './store.ts';

const fewImages = 10;
const manyImages = { directory: 1000, s3: 100 };
const ticks = 5;
const tickMs = 60_000;
const messagesMax = 100_000;

export async function idleTick({ store }: Pick<Peered, 'store'>): Promise<Figure[]> {
  const imageCount = manyImages[store.name];
  const few = await idleRequests(store, fewImages);
  const many = await idleRequests(store, imageCount);
  return [
    {
      name: `requests of idle ticks, ${imageCount.toLocaleString('en')} minus ${fewImages} images`,
      value: many - few,
      unit: 'requests',
      atMost: 0,
      note: `${few} and ${many} bucket requests at both sites in ${ticks} ticks; in process, buckets ${store.name === 's3' ? 'on S3' : 'in memory'}`,
    },
    {
      name: 'requests of one idle tick and site',
      value: many / ticks / 2,
      unit: 'requests',
      note: 'heartbeats, schedules, one poll of the peer',
    },
  ];
}

async function idleRequests(store: Store, imageCount: number): Promise<number> {
  const network = new TestNetwork();
  const [a, b] = [await addSite(network, store, 'site-a'), await addSite(network, store, 'site-b')];
  await peer(network, a, b);
  for (let i = 0; i < imageCount; i++) {
    await a.ok('POST', '/v1/pools/rbd/images', { name: `i${i}`, sizeBytes: 1024 * 1024 });
    await a.ok('POST', `/v1/pools/rbd/images/i${i}/mirror`, { mode: 'snapshot' });
  }
  await settle(network, a, b);
  const before = spent(a, b);
  for (let tick = 0; tick < ticks; tick++) await tickAll(network, a, b);
  return spent(a, b) - before;
}

async function addSite(network: TestNetwork, store: Store, name: string): Promise<TestSite> {
  const { s3 } = await store.newPlace();
  const bucket = s3 && new Bucket(new S3Driver(s3), { clock: systemClock, random: systemRandom });
  return network.add(name, undefined, bucket);
}

async function peer(network: TestNetwork, a: TestSite, b: TestSite): Promise<void> {
  for (const site of [a, b]) {
    await site.site.start();
    await site.ok('POST', '/v1/pools', { name: 'rbd' });
    await site.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
  }
  const { token } = (await a.ok('POST', '/v1/pools/rbd/mirror/bootstrap', { siteName: 'site-a' })).json;
  await b.ok('POST', '/v1/pools/rbd/mirror/bootstrap/import', { token, siteName: 'site-b', direction: 'rx-tx' });
  await network.settle();
}

/** Until the replicas are there and nothing is pending. */
async function settle(network: TestNetwork, a: TestSite, b: TestSite): Promise<void> {
  await network.settle(messagesMax);
  for (let tick = 0; tick < 10; tick++) await tickAll(network, a, b);
}

async function tickAll(network: TestNetwork, a: TestSite, b: TestSite): Promise<void> {
  a.clock.setMs(a.clock.nowMs() + tickMs);
  for (const { site, clock } of [a, b]) await site.tick(clock.nowMs());
  await network.settle(messagesMax);
}

function spent(...sites: readonly TestSite[]): number {
  return sites.reduce((sum, site) => sum + site.bucket.counts().A + site.bucket.counts().B, 0);
}
