// The cases that need one or two sites; each answers figures. Images are named apart, so cases may share the sites.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bucket } from '../../lib/bucket/bucket.ts';
import { prefixes } from '../../lib/bucket/keys.ts';
import { assert } from '../../lib/errors.ts';
import { parsePackIndex } from '../../lib/image/format/pack.ts';
import { parsePackId } from '../../lib/image/ids.ts';
import { systemClock as clock } from '../../lib/clock.ts';
import { limitsDefault } from '../../lib/mirror/limits.ts';
import { changeFile, makeFile, MiB, warm } from './content.ts';
import { enableAndSync, post, replicaAt, since, snapshotAndSync, syncedTo, totals, type Peered } from './peered.ts';
import { median, type Figure } from './report.ts';

const repeats = 3;

/** Whole processes against whole processes, in turn, so that a drifting machine hits both. */
export async function importThroughput({ a, directory, store, places }: Peered): Promise<Figure[]> {
  const bytes = store.sizes.importBytes;
  const source = join(directory, 'import.img');
  makeFile(source, bytes, 'mixed');
  warm(source);
  const ratios: number[] = [];
  let seconds = 0;
  for (let round = 0; round < repeats; round++) {
    const baseline = places.a.plainImport(source, directory);
    const startMs = performance.now();
    await a.farsideOk('import', '--no-progress', source, `rbd/import-${round}`);
    seconds = (performance.now() - startMs) / 1000;
    ratios.push(baseline / seconds);
    await a.farsideOk('rm', '--no-progress', `rbd/import-${round}`);
  }
  rmSync(source);
  return [
    {
      name: 'import throughput',
      value: median(ratios),
      unit: 'ratio',
      atLeast: 0.5,
      note: `${bytes / MiB} MiB, half random, ÷ (${store.plainImportText}); whole processes; last run ${(bytes / MiB / seconds).toFixed(0)} MiB/s`,
    },
  ];
}

/** Half random, half text, from `mirror image enable` to the complete replica, against a plain copy of the same objects. */
export async function initialSync(sites: Peered): Promise<Figure[]> {
  const { directory, store } = sites;
  const { syncBytes, randomBytes } = store.sizes;
  const source = join(directory, 'sync.img');
  makeFile(source, syncBytes, 'mixed');
  const ratios = await againstPlainCopy(sites, source);
  makeFile(source, randomBytes, 'random');
  const seconds = await secondsOfSync(sites, source);
  rmSync(source);
  return [
    {
      name: 'initial sync throughput',
      value: median(ratios),
      unit: 'ratio',
      atLeast: 0.7,
      note: `${syncBytes / MiB} MiB image between two sites ÷ ${store.plainCopyText}`,
    },
    {
      name: `initial sync of ${randomBytes / MiB} MiB`,
      value: median(seconds),
      unit: 's',
      ...(store.name === 'directory' && { atMost: 2.5 }),
      note: 'random data, median of 3, from the request to enable; real rbd-mirror, 512 MiB: 4.4 s',
    },
  ];
}

async function againstPlainCopy({ a, b, directory, places }: Peered, source: string): Promise<number[]> {
  const ratios: number[] = [];
  for (let round = 0; round < repeats; round++) {
    const image = `sync-${round}`;
    await a.farsideOk('import', '--no-progress', source, `rbd/${image}`);
    const { id } = JSON.parse(await a.farsideOk('info', `rbd/${image}`, '--format', 'json')) as { id: string };
    const seconds = await enableAndSync(a, b, image);
    const baseline = await places.a.plainCopy({ site: a, imageId: id }, { place: places.b, scratch: directory });
    ratios.push(baseline / seconds);
    await a.farsideOk('mirror', 'image', 'disable', `rbd/${image}`);
    await a.farsideOk('rm', '--no-progress', `rbd/${image}`);
  }
  return ratios;
}

async function secondsOfSync({ a, b }: Peered, source: string): Promise<number[]> {
  const seconds: number[] = [];
  for (let round = 0; round < repeats; round++) {
    const image = `half-${round}`;
    await a.farsideOk('import', '--no-progress', source, `rbd/${image}`);
    seconds.push(await enableAndSync(a, b, image));
    await a.farsideOk('rm', '--no-progress', `rbd/${image}`);
  }
  return seconds;
}

export async function syncRequests(sites: Peered): Promise<Figure[]> {
  const { countedBytes } = sites.store.sizes;
  const source = join(sites.directory, 'counted.img');
  makeFile(source, countedBytes, 'random');
  const { requests, seconds } = await requestsPerPack(sites, source);
  rmSync(source);
  return [
    {
      name: 'requests per pack of an initial sync',
      value: requests,
      unit: 'requests',
      atMost: 2.3,
      note: `${countedBytes / MiB} MiB of random data in ${seconds.toFixed(0)} s; class A and B at both sites, all told: documents that are believed for ${limitsDefault.cacheMs / 1000} s are read again in it`,
    },
  ];
}

/** What looking whether it is done costs is measured too, and taken off. */
async function requestsPerPack(
  { a, b, places }: Peered,
  source: string,
): Promise<{ requests: number; seconds: number }> {
  await a.farsideOk('import', '--no-progress', source, 'rbd/counted');
  const { id } = JSON.parse(await a.farsideOk('info', 'rbd/counted', '--format', 'json')) as { id: string };
  const before = await totals(a, b);
  await post(a, '/v1/pools/rbd/images/counted/mirror', { mode: 'snapshot' });
  const startMs = performance.now();
  const looks = await replicaAt(b, 'counted', 1, 3000);
  const seconds = (performance.now() - startMs) / 1000;
  const used = since(await totals(a, b), before);
  await syncedTo(b, 'counted');
  const look = since(since(await totals(a, b), before), used);
  const requests = used.A + used.B - looks * (look.A + look.B);
  return { requests: requests / (await packKeys(places.a.bucketOf(a), id)).length, seconds };
}

/** From the request for a snapshot to the complete replica. */
export async function latencies({ a, b, directory, store, wireBytes }: Peered): Promise<Figure[]> {
  // Of times, on disks; on S3 they are those of the server.
  const within = (atMost: number) => (store.name === 'directory' ? { atMost } : {});
  const bytes = 512 * MiB;
  const source = join(directory, 'latency.img');
  makeFile(source, bytes, 'random');
  await a.farsideOk('import', '--no-progress', source, 'rbd/latency');
  await enableAndSync(a, b, 'latency');
  const empty: number[] = [];
  for (let round = 0; round < 5; round++) empty.push(await snapshotAndSync(a, b, 'latency'));
  const delta = async (
    unitBytes: number,
    changeBytes: number,
    seed: number,
  ): Promise<{ seconds: number; wire: number }> => {
    const changed = changeFile(source, bytes, unitBytes, changeBytes, seed);
    await a.farsideOk('import', '--update', '--compression', 'none', '--no-progress', source, 'rbd/latency');
    const before = wireBytes();
    const seconds = await snapshotAndSync(a, b, 'latency');
    return { seconds, wire: (wireBytes() - before) / changed };
  };
  const small = [await delta(4096, 64 * MiB, 1), await delta(4096, 64 * MiB, 2), await delta(4096, 64 * MiB, 3)];
  const scattered = await delta(4096, 4 * MiB, 4);
  const large = await delta(65_536, 64 * MiB, 5);
  rmSync(source);
  return [
    {
      name: 'snapshot to replica, empty delta',
      value: median(empty),
      unit: 's',
      ...within(0.3),
      note: 'median of 5, from the API request; real rbd-mirror: 1.5 s',
    },
    {
      name: 'snapshot to replica, 64 MiB of random 4 KiB',
      value: median(small.map(({ seconds }) => seconds)),
      unit: 's',
      ...within(1.5),
      note: 'median of 3; real rbd-mirror: 2.3 s',
    },
    {
      name: 'wire ÷ changed, 64 KiB writes',
      value: large.wire,
      unit: 'ratio',
      atMost: 1.05,
      note: '64 MiB at random places of 512 MiB; TCP payload from site-a to site-b, map nodes and HTTP included',
    },
    {
      name: 'wire ÷ changed, 4 KiB writes',
      value: small[0]!.wire,
      unit: 'ratio',
      atMost: 1.25,
      note: '64 MiB at random places of 512 MiB, compression off',
    },
    {
      name: 'wire ÷ changed, few 4 KiB writes',
      value: scattered.wire,
      unit: 'ratio',
      atMost: 1.25,
      note: '4 MiB at random places of 512 MiB: 8 writes per object',
    },
  ];
}

/** Uses the image that `latencies` left behind at both sites. */
export async function splitBrain({ a, b, directory, wireBytes }: Peered): Promise<Figure[]> {
  const image = 'rbd/latency';
  const changeBytes = 4 * MiB;
  const [atA, atB] = [join(directory, 'a.img'), join(directory, 'b.img')];
  await a.farsideOk('export', '--no-progress', image, atA);
  await a.farsideOk('export', '--no-progress', image, atB);
  await b.farsideOk('mirror', 'image', 'promote', '--force', image);
  changeFile(atB, 512 * MiB, 65_536, changeBytes, 6);
  await b.farsideOk('import', '--update', '--no-progress', atB, image);
  changeFile(atA, 512 * MiB, 65_536, changeBytes, 7);
  await a.farsideOk('import', '--update', '--compression', 'none', '--no-progress', atA, image);
  await b.farsideOk('mirror', 'image', 'demote', image);
  const { id } = (await post(a, '/v1/pools/rbd/images/latency/mirror/snapshot')) as { id: number };
  const before = wireBytes();
  await b.farsideOk('mirror', 'image', 'resync', image);
  await replicaAt(b, 'latency', id);
  const resync = wireBytes() - before;
  const failback = await failBack({ a, b, directory }, atA, changeBytes);
  return [
    {
      name: 'resync after a split-brain',
      value: resync / MiB,
      unit: 'MiB',
      atMost: 8,
      note: '4 MiB of difference on each side of a 512 MiB image, on the wire; real rbd-mirror: 571 MB',
    },
    {
      name: 'resync ÷ true difference',
      value: resync / changeBytes,
      unit: 'ratio',
      atMost: 1.1,
      note: 'map nodes and HTTP included, so a little above the data alone',
    },
    {
      name: 'failback ÷ true difference',
      value: failback / changeBytes,
      unit: 'ratio',
      atMost: 1.1,
      note: 'bytes of packs that site-a fetched from site-b, as its status says',
    },
  ];
}

/** Fails over to site-b, changes the image there, and brings site-a up to date again. Answers the bytes of packs that site-a fetched. */
async function failBack(
  { a, b }: Pick<Peered, 'a' | 'b' | 'directory'>,
  file: string,
  changeBytes: number,
): Promise<number> {
  const image = 'rbd/latency';
  await a.farsideOk('mirror', 'image', 'demote', image);
  await promoteWhenReady(b, image);
  changeFile(file, 512 * MiB, 65_536, changeBytes, 8);
  await b.farsideOk('import', '--update', '--compression', 'none', '--no-progress', file, image);
  const { id } = (await post(b, '/v1/pools/rbd/images/latency/mirror/snapshot')) as { id: number };
  await replicaAt(a, 'latency', id);
  const { description } = (await (await a.fetch('/v1/pools/rbd/images/latency/mirror/status')).json()) as {
    description: string;
  };
  return (JSON.parse(description.slice(description.indexOf('{'))) as { last_snapshot_bytes: number })
    .last_snapshot_bytes;
}

async function promoteWhenReady(site: Peered['a'], image: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await site.farside('mirror', 'image', 'promote', image)).code === 0) return;
    await clock.sleep(100);
  }
  throw new Error(`${image} cannot be promoted at ${site.name}`);
}

/** The map's share of a sequentially written image, and of one with scattered 4 KiB writes, from the packs' own indexes. */
export async function mapShare({ a, directory, store, places }: Peered): Promise<Figure[]> {
  const bytes = store.sizes.mapBytes;
  const source = join(directory, 'map.img');
  makeFile(source, bytes, 'random');
  await a.farsideOk('import', '--no-progress', source, 'rbd/map');
  const { id } = JSON.parse(await a.farsideOk('info', 'rbd/map', '--format', 'json')) as { id: string };
  const sequential = await nodeBytes(places.a.bucketOf(a), id);
  changeFile(source, bytes, 4096, 64 * MiB, 9);
  await a.farsideOk('import', '--update', '--compression', 'none', '--no-progress', source, 'rbd/map');
  const scattered = (await nodeBytes(places.a.bucketOf(a), id)) - sequential;
  rmSync(source);
  const perTiB = (share: number): string => `${((share * 1024 * 1024 * MiB) / MiB).toFixed(0)} MiB per TiB`;
  return [
    {
      name: 'map ÷ data, sequential',
      value: (sequential / bytes) * 100,
      unit: '%',
      atMost: 0.05,
      note: `map nodes of an import of ${bytes / MiB} MiB: ${perTiB(sequential / bytes)}`,
    },
    {
      name: 'map ÷ data, scattered 4 KiB',
      value: (scattered / (64 * MiB)) * 100,
      unit: '%',
      note: `new map nodes of 64 MiB of random 4 KiB writes in ${bytes / MiB} MiB`,
    },
  ];
}

async function packKeys(bucket: Bucket, imageId: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of bucket.listAll(prefixes.packs(imageId))) keys.push(key);
  return keys;
}

async function nodeBytes(bucket: Bucket, imageId: string): Promise<number> {
  let bytes = 0;
  for (const key of await packKeys(bucket, imageId)) {
    const pack = await bucket.get(key);
    assert(pack.status === 'found', `${key} was listed`);
    const index = parsePackIndex(pack.body, parsePackId(key.split('/').at(-1)!));
    for (let i = 0; i < index.entryCount; i++) if (index.entry(i).kind === 2) bytes += index.entry(i).encodedBytes;
  }
  return bytes;
}

/** Requests that creating a snapshot costs, on a small and on a huge image. */
export async function snapshotRequests({ a }: Peered): Promise<Figure[]> {
  const requests: number[] = [];
  for (const [name, size] of [
    ['one-gib', '1G'],
    ['one-tib', '1T'],
  ] as const) {
    await a.farsideOk('create', '--size', size, `rbd/${name}`);
    await totals(a);
    const before = await totals(a);
    await post(a, `/v1/pools/rbd/images/${name}/snaps`, { name: 's' });
    const used = since(await totals(a), before);
    requests.push(used.A + used.B);
  }
  return [
    {
      name: 'requests of a snapshot, 1 TiB minus 1 GiB',
      value: requests[1]! - requests[0]!,
      unit: 'requests',
      atMost: 0,
      note: `${requests[0]} and ${requests[1]} requests, the measurement's own included`,
    },
  ];
}
