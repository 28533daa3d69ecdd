// I11: what the ticks of idle sites cost, with 10 and with 1,000 mirrored images. In process, on buckets in memory, so that
// a thousand images take seconds; requests are counted by the same Bucket as everywhere.

import { TestNetwork } from '../site/network.ts';
import type { TestSite } from '../site/harness.ts';
import type { Figure } from './report.ts';

const fewImages = 10;
const manyImages = 1000;
const ticks = 5;
const tickMs = 60_000;
const messagesMax = 100_000;

export async function idleTick(): Promise<Figure[]> {
  const few = await idleRequests(fewImages);
  const many = await idleRequests(manyImages);
  return [
    {
      name: 'requests of idle ticks, 1,000 minus 10 images',
      value: many - few,
      unit: 'requests',
      atMost: 0,
      note: `${few} and ${many} bucket requests at both sites in ${ticks} ticks`,
    },
    {
      name: 'requests of one idle tick and site',
      value: many / ticks / 2,
      unit: 'requests',
      note: 'heartbeats, schedules, one poll of the peer',
    },
  ];
}

async function idleRequests(imageCount: number): Promise<number> {
  const network = new TestNetwork();
  const [a, b] = [network.add('site-a'), network.add('site-b')];
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
