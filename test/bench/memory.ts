// What a consumer holds while it copies an initial sync: site-b runs in this process, whose garbage is collected before every
// sample, so that only memory in use counts. Needs --expose-gc, as `npm run bench` gives it.
//
// It is collected twice. V8 frees the memory of dead buffers on a thread of its own after a collection, and counts it as
// `external` until the next one: up to 54 MiB of a Lambda consumer's buffers were so counted, long after they were freed.

import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { choosePort, loopback } from '../../infra/local/free-port.ts';
import { startNodeSite } from '../../infra/local/node-site.ts';
import { assert } from '../../lib/errors.ts';
import { systemRandom as random } from '../../lib/random.ts';
import { Rooms } from '../../lib/node/rooms.ts';
import { startSites, type Site } from '../platform/sites.ts';
import { makeFile, MiB } from './content.ts';
import { post, replicaAt } from './peered.ts';
import type { Figure } from './report.ts';

const sampleMs = 200;
const imageBytes = 512 * MiB;

export async function consumerMemory(): Promise<Figure[]> {
  const sites = await startSites(['site-a'], { platform: 'node', tickSeconds: 3600 });
  const directory = mkdtempSync(join(tmpdir(), 'farside-memory-'));
  const rooms = new Rooms();
  const { port, config, b } = await consumerHere('node');
  const running = await startNodeSite(
    { directory, port, config, log: () => {} },
    { queue: { handledAtOnceMax: 1 }, rooms },
  );
  try {
    const a = sites.all[0]!;
    await introduce(a, b);
    const measure = (): number => inUse() + rooms.heldBytes;
    const used = await mostBeyondIdle({ a, b, directory, imageBytes, measure });
    return [
      {
        name: 'consumer memory beyond idle',
        value: used / MiB,
        unit: 'MiB',
        atMost: 64,
        note: `heap, buffers and shared memory in use at site-b, which handles one message at a time, during an initial sync of ${imageBytes / MiB} MiB, sampled every ${sampleMs} ms after a collection`,
      },
    ];
  } finally {
    await running.stop();
    await sites.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

type Consumer = {
  port: number;
  config: { name: string; url: string; platform: string; adminTokenHash: string; secret: string };
  b: Pick<Site, 'name' | 'fetch'>;
};

type Sampled = {
  a: Site;
  b: Pick<Site, 'name' | 'fetch'>;
  directory: string;
  imageBytes: number;
  /** Memory of site-b, this process; what is in use on the heap and in buffers when left out. */
  measure?: () => number;
};

/** The most that site-b, in this process, takes beyond idle, while it copies one image. */
export async function mostBeyondIdle({
  a,
  b,
  directory,
  imageBytes: bytes,
  measure = inUse,
}: Sampled): Promise<number> {
  const idle = measure();
  let most = idle;
  const timer = setInterval(() => (most = Math.max(most, measure())), sampleMs);
  await sync(a, b, join(directory, 'memory.img'), bytes);
  clearInterval(timer);
  return most - idle;
}

/** site-b in this process, and how to ask it. */
export async function consumerHere(platform: string): Promise<Consumer> {
  const adminToken = random.uuid();
  const port = await choosePort(random);
  const url = `http://${loopback}:${port}`;
  const config = {
    name: 'site-b',
    url,
    platform,
    adminTokenHash: createHash('sha256').update(adminToken).digest('hex'),
    secret: randomBytes(32).toString('base64'),
  };
  const ask: Site['fetch'] = (path, init) =>
    fetch(new URL(path, url), {
      ...init,
      headers: { ...(init?.headers as Record<string, string>), authorization: `Bearer ${adminToken}` },
    });
  return { port, config, b: { name: 'site-b', fetch: ask } };
}

export async function introduce(a: Site, b: Pick<Site, 'name' | 'fetch'>): Promise<void> {
  for (const site of [a, b]) {
    await post(site, '/v1/pools', { name: 'rbd' });
    await site.fetch('/v1/pools/rbd/mirror', {
      method: 'PUT',
      body: JSON.stringify({ mode: 'image' }),
      headers: { 'content-type': 'application/json' },
    });
  }
  const { token } = (await post(a, '/v1/pools/rbd/mirror/bootstrap', { siteName: 'site-a' })) as { token: string };
  await post(b, '/v1/pools/rbd/mirror/bootstrap/import', { token, siteName: 'site-b', direction: 'rx-tx' });
}

async function sync(a: Site, b: Pick<Site, 'name' | 'fetch'>, source: string, bytes: number): Promise<void> {
  makeFile(source, bytes, 'mixed');
  await a.farsideOk('import', '--no-progress', source, `rbd/of-${bytes}`);
  await post(a, `/v1/pools/rbd/images/of-${bytes}/mirror`, { mode: 'snapshot' });
  await replicaAt(b, `of-${bytes}`, 1, 200);
}

function inUse(): number {
  assert(globalThis.gc, 'run with --expose-gc');
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
