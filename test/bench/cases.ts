// The cases that need one or two sites; each answers figures. Images are named apart, so cases may share the sites.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { prefixes } from '../../lib/bucket/keys.ts';
import { parsePackIndex } from '../../lib/image/pack.ts';
import { parsePackId } from '../../lib/image/ids.ts';
import { systemClock as clock } from '../../lib/clock.ts';
import { changeFile, makeFile, MiB, warm } from './content.ts';
import { enableAndSync, post, replicaAt, since, snapshotAndSync, syncedTo, totals, type Peered } from './peered.ts';
import { median, type Figure } from './report.ts';

const plain = join(import.meta.dirname, 'plain.ts');
const repeats = 3;

const timed = (run: () => void): number => {
  const startMs = performance.now();
  run();
  return (performance.now() - startMs) / 1000;
};

/** Whole processes against whole processes, in turn, so that a drifting machine hits both. */
export async function importThroughput({ a, directory }: Peered): Promise<Figure[]> {
  const bytes = 512 * MiB;
  const [source, target] = [join(directory, 'import.img'), join(directory, 'copy.img')];
  makeFile(source, bytes, 'mixed');
  warm(source);
  const ratios: number[] = [];
  let seconds = 0;
  for (let round = 0; round < repeats; round++) {
    const baseline = timed(() => execFileSync(process.execPath, [plain, 'copy', source, target]));
    const startMs = performance.now();
    await a.farsideOk('import', '--no-progress', source, `rbd/import-${round}`);
    seconds = (performance.now() - startMs) / 1000;
    ratios.push(baseline / seconds);
    await a.farsideOk('rm', '--no-progress', `rbd/import-${round}`);
  }
  rmSync(source);
  rmSync(target);
  return [
    {
      name: 'import throughput',
      value: median(ratios),
      unit: 'ratio',
      atLeast: 0.5,
      note: `512 MiB, half random, ÷ (read + SHA-256 + write + fsync); whole processes; last run ${(bytes / MiB / seconds).toFixed(0)} MiB/s`,
    },
  ];
}

async function plainCopySeconds(packs: string, directory: string): Promise<number> {
  const target = join(directory, 'plain');
  mkdirSync(target);
  const server = spawn(process.execPath, [plain, 'serve', packs], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = (await once(server.stdout, 'data')) as [Buffer];
  const names = readdirSync(packs);
  const seconds = timed(() =>
    execFileSync(process.execPath, [plain, 'fetch', port.toString().trim(), target, ...names]),
  );
  server.kill('SIGTERM');
  rmSync(target, { recursive: true });
  return seconds;
}

/** 1 GiB, half random, half text, from `mirror image enable` to the complete replica, against a plain copy of the same objects. */
export async function initialSync(sites: Peered): Promise<Figure[]> {
  const { a, b, directory } = sites;
  const source = join(directory, 'sync.img');
  makeFile(source, 1024 * MiB, 'mixed');
  const ratios: number[] = [];
  for (let round = 0; round < repeats; round++) {
    const image = `sync-${round}`;
    await a.farsideOk('import', '--no-progress', source, `rbd/${image}`);
    const { id } = JSON.parse(await a.farsideOk('info', `rbd/${image}`, '--format', 'json')) as { id: string };
    const packs = packsDirectory(a.directory, id);
    const seconds = await enableAndSync(a, b, image);
    ratios.push((await plainCopySeconds(packs, directory)) / seconds);
    await a.farsideOk('mirror', 'image', 'disable', `rbd/${image}`);
    await a.farsideOk('rm', '--no-progress', `rbd/${image}`);
  }
  makeFile(source, 512 * MiB, 'random');
  const seconds: number[] = [];
  for (let round = 0; round < repeats; round++) {
    const image = `half-${round}`;
    await a.farsideOk('import', '--no-progress', source, `rbd/${image}`);
    seconds.push(await enableAndSync(a, b, image));
    await a.farsideOk('rm', '--no-progress', `rbd/${image}`);
  }
  makeFile(source, 1024 * MiB, 'random');
  const perPack = await requestsPerPack(sites, source);
  rmSync(source);
  return [
    {
      name: 'initial sync throughput',
      value: median(ratios),
      unit: 'ratio',
      atLeast: 0.7,
      note: '1 GiB image between two node sites ÷ plain HTTP copy of the same objects (4 at a time, fsync each)',
    },
    {
      name: 'initial sync of 512 MiB',
      value: median(seconds),
      unit: 's',
      atMost: 2.5,
      note: 'random data, median of 3, from the request to enable; real rbd-mirror: 4.4 s',
    },
    {
      name: 'requests per pack of an initial sync',
      value: perPack,
      unit: 'requests',
      atMost: 2.3,
      note: '1 GiB of random data; class A and B at both sites, all told',
    },
  ];
}

/** The file driver keeps each object as a file named after its key and an `@`, with a trailer of a few bytes. */
const packsDirectory = (site: string, imageId: string): string =>
  join(site, 'bucket', 'objects', prefixes.packs(imageId));

/** What looking whether it is done costs is measured too, and taken off. */
async function requestsPerPack({ a, b }: Peered, source: string): Promise<number> {
  await a.farsideOk('import', '--no-progress', source, 'rbd/counted');
  const { id } = JSON.parse(await a.farsideOk('info', 'rbd/counted', '--format', 'json')) as { id: string };
  const before = await totals(a, b);
  await post(a, '/v1/pools/rbd/images/counted/mirror', { mode: 'snapshot' });
  const looks = await replicaAt(b, 'counted', 1, 3000);
  const used = since(await totals(a, b), before);
  await syncedTo(b, 'counted');
  const look = since(since(await totals(a, b), before), used);
  const requests = used.A + used.B - looks * (look.A + look.B);
  return requests / readdirSync(packsDirectory(a.directory, id)).length;
}

/** From the request for a snapshot to the complete replica. */
export async function latencies({ a, b, directory, wireBytes }: Peered): Promise<Figure[]> {
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
      atMost: 0.3,
      note: 'median of 5, from the API request; real rbd-mirror: 1.5 s',
    },
    {
      name: 'snapshot to replica, 64 MiB of random 4 KiB',
      value: median(small.map(({ seconds }) => seconds)),
      unit: 's',
      atMost: 1.5,
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
export async function mapShare({ a, directory }: Peered): Promise<Figure[]> {
  const bytes = 1024 * MiB;
  const source = join(directory, 'map.img');
  makeFile(source, bytes, 'random');
  await a.farsideOk('import', '--no-progress', source, 'rbd/map');
  const { id } = JSON.parse(await a.farsideOk('info', 'rbd/map', '--format', 'json')) as { id: string };
  const sequential = nodeBytes(a.directory, id);
  changeFile(source, bytes, 4096, 64 * MiB, 9);
  await a.farsideOk('import', '--update', '--compression', 'none', '--no-progress', source, 'rbd/map');
  const scattered = nodeBytes(a.directory, id) - sequential;
  rmSync(source);
  const perTiB = (share: number): string => `${((share * 1024 * 1024 * MiB) / MiB).toFixed(0)} MiB per TiB`;
  return [
    {
      name: 'map ÷ data, sequential',
      value: (sequential / bytes) * 100,
      unit: '%',
      atMost: 0.05,
      note: `map nodes of a 1 GiB import: ${perTiB(sequential / bytes)}`,
    },
    {
      name: 'map ÷ data, scattered 4 KiB',
      value: (scattered / (64 * MiB)) * 100,
      unit: '%',
      note: 'new map nodes of 64 MiB of random 4 KiB writes in 1 GiB',
    },
  ];
}

function nodeBytes(site: string, imageId: string): number {
  const directory = packsDirectory(site, imageId);
  let bytes = 0;
  for (const name of readdirSync(directory)) {
    const index = parsePackIndex(readFileSync(join(directory, name)), parsePackId(name.replace('@', '')));
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
