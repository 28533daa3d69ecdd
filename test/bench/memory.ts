// What a consumer holds while it copies an initial sync: site-b runs in this process, whose garbage is collected before every
// sample, so that only memory in use counts. Needs --expose-gc, as `npm run bench` gives it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serveSite } from '../../infra/local/serve-site.ts';
import { systemClock as clock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { systemRandom as random } from '../../lib/random.ts';
import { startSites, type Site } from '../platform/sites.ts';
import { makeFile, MiB } from './content.ts';
import { post, replicaAt } from './peered.ts';
import type { Figure } from './report.ts';

const sampleMs = 400;
const imageBytes = 512 * MiB;

export async function consumerMemory(): Promise<Figure[]> {
  const sites = await startSites(['site-a'], { platform: 'node', tickSeconds: 3600 });
  const directory = mkdtempSync(join(tmpdir(), 'farside-memory-'));
  const served = await serveSite(
    { name: 'site-b', directory: join(directory, 'site'), platform: 'node', tickSeconds: 3600 },
    { clock, random, log: () => {} },
  );
  try {
    const a = sites.all[0]!;
    const b: Pick<Site, 'name' | 'fetch'> = {
      name: 'site-b',
      fetch: (path, init) =>
        fetch(new URL(path, served.url), {
          ...init,
          headers: { ...(init?.headers as Record<string, string>), authorization: `Bearer ${served.adminToken}` },
        }),
    };
    const used = await syncAndSample(a, b, directory);
    return [
      {
        name: 'consumer memory beyond idle',
        value: used / MiB,
        unit: 'MiB',
        atMost: 64,
        note: `heap and buffers in use at site-b, which handles up to four messages at once, during an initial sync of ${imageBytes / MiB} MiB, sampled every ${sampleMs} ms after a collection`,
      },
    ];
  } finally {
    await served.stop();
    await sites.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function syncAndSample(a: Site, b: Pick<Site, 'name' | 'fetch'>, directory: string): Promise<number> {
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
  const source = join(directory, 'memory.img');
  makeFile(source, imageBytes, 'mixed');
  await a.farsideOk('import', '--no-progress', source, 'rbd/memory');
  const idle = memoryInUse();
  let most = idle;
  const timer = setInterval(() => (most = Math.max(most, memoryInUse())), sampleMs);
  await post(a, '/v1/pools/rbd/images/memory/mirror', { mode: 'snapshot' });
  await replicaAt(b, 'memory', 1, 200);
  clearInterval(timer);
  return most - idle;
}

function memoryInUse(): number {
  assert(globalThis.gc, 'run with --expose-gc');
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
