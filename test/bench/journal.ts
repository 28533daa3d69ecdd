// Journal mode between two sites whose ticks are far apart, so that wake-ups alone move data: how far the replica is behind under a
// steady write, against a single flush on an image at rest, and what crosses the wire for each byte written.

import { randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import type { Bucket } from '../../lib/bucket/bucket.ts';
import { prefixes } from '../../lib/bucket/keys.ts';
import { systemClock as clock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { NbdProcess } from '../platform/nbd-process.ts';
import { waitUntil, type Site } from '../platform/sites.ts';
import { RawClient } from '../nbd/raw-client.ts';
import { MiB } from './content.ts';
import { post, type Peered } from './peered.ts';
import { median, type Figure } from './report.ts';

const diskBytes = 256 * MiB;
const writeBytes = 256 * 1024;
/** Written, then flushed, each time. */
const burstBytes = MiB;
const burstEveryMs = 250;
const burstCount = 80;
const loneCount = 5;
/** Longer than the writer keeps to itself that the journal went on. */
const restMs = 2500;
const waitMsMax = 60_000;
const lookEveryMs = 200;
const command = { write: 1, flush: 3 };

export async function journalLag(sites: Peered): Promise<Figure[]> {
  const { a, b, directory, store, wireBytes } = sites;
  await a.farsideOk('create', '--size', `${diskBytes / MiB}M`, 'rbd/followed');
  await post(a, '/v1/pools/rbd/images/followed/mirror', { mode: 'journal' });
  const socket = join(directory, 'journal.sock');
  const served = await NbdProcess.start(a, { images: ['followed'], socket });
  const client = await RawClient.connect({ path: socket });
  await client.go();
  await waitUntil(async () => (await b.farside('info', 'rbd/followed')).code === 0, 'site-b has a replica');
  const images = { a: await idOf(a), b: await idOf(b) };
  await burst(client, 0);
  const first = await inStep(sites, images);
  for (let index = 0; index < loneCount; index++) {
    await clock.sleep(restMs);
    await burst(client, index);
  }
  const lone = await inStep(sites, images);
  const wireBefore = wireBytes();
  for (let index = 0; index < burstCount; index++) await Promise.all([burst(client, index), clock.sleep(burstEveryMs)]);
  const steady = await inStep(sites, images);
  const wire = wireBytes() - wireBefore;
  await client.disconnect();
  await served.stop();
  return figures({
    lone: lone.slice(first.length),
    steady: steady.slice(lone.length),
    wirePerByte: wire / (burstCount * burstBytes),
    isTimed: store.name === 'directory',
  });
}

async function burst(client: RawClient, index: number): Promise<void> {
  const data = randomFillSync(Buffer.allocUnsafe(burstBytes));
  for (let at = 0; at < burstBytes; at += writeBytes)
    client.request(command.write, {
      offset: (index * burstBytes + at) % diskBytes,
      data: data.subarray(at, at + writeBytes),
    });
  for (let at = 0; at < burstBytes; at += writeBytes) assert((await client.simpleReply()) === 0, 'a write failed');
  assert((await client.ask(command.flush)) === 0, 'a flush failed');
}

async function idOf(site: Site): Promise<string> {
  return (JSON.parse(await site.farsideOk('info', 'rbd/followed', '--format', 'json')) as { id: string }).id;
}

type Images = { a: string; b: string };

/** Waits until the replica has every segment; how long after the primary it had each, by the times that the buckets keep. */
async function inStep({ a, b, places }: Peered, images: Images): Promise<number[]> {
  let lags: number[] = [];
  const look = async (): Promise<boolean> => {
    const atA = await storedAtMs(places.a.bucketOf(a), images.a);
    const atB = await storedAtMs(places.b.bucketOf(b), images.b);
    lags = [...atA].flatMap(([slot, ms]) => (atB.has(slot) ? [atB.get(slot)! - ms] : []));
    return lags.length === atA.size;
  };
  await waitUntil(look, 'the replica has every segment', waitMsMax, lookEveryMs);
  return lags;
}

/** The segments of an image in the order of the journal: by slot, when each was put. */
async function storedAtMs(bucket: Bucket, imageId: string): Promise<Map<string, number>> {
  const stored = new Map<string, number>();
  for await (const { key, uploadedAtMs } of bucket.listAll(prefixes.journal(imageId)))
    stored.set(key.slice(prefixes.journal(imageId).length), uploadedAtMs);
  return stored;
}

type Measured = { lone: number[]; steady: number[]; wirePerByte: number; isTimed: boolean };

function figures({ lone, steady, wirePerByte, isTimed }: Measured): Figure[] {
  const sorted = steady.toSorted((a, b) => a - b);
  const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1]!;
  const within = (atMost: number) => (isTimed ? { atMost } : {});
  const how = `${burstBytes / MiB} MiB and a flush every ${burstEveryMs} ms, ${steady.length} segments; from put to put, no ticks`;
  return [
    {
      name: 'journal lag under steady write, median',
      value: median(steady) / 1000,
      unit: 's',
      ...within(1.5),
      note: `${how}; a lone flush: ${(median(lone) / 1000).toFixed(3)} s (median of ${lone.length})`,
    },
    { name: 'journal lag under steady write, p99', value: p99 / 1000, unit: 's', ...within(3), note: how },
    {
      name: 'journal lag of a lone flush',
      value: median(lone) / 1000,
      unit: 's',
      ...within(0.5),
      note: 'an image at rest, woken at once',
    },
    {
      name: 'wire ÷ written, journal mode',
      value: wirePerByte,
      unit: 'ratio',
      atMost: 1.05,
      note: `${burstCount * (burstBytes / MiB)} MiB of random data; TCP payload from site-a to site-b, HTTP and everything else it was asked meanwhile included`,
    },
  ];
}
