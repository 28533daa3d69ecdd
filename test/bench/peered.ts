// Owns the benchmarks' sites: two real sites on some store, peered, with ticks far apart so that only wake-ups move data.
// Where a case counts bytes, counters stand between them, so that "on the wire" means what crossed a TCP connection: one before
// site-a, and, where packs come from S3, one before the S3 server, which counts the connections that read presigned URLs. They take
// processor time of their own, so cases that measure throughput go without.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock as clock } from '../../lib/clock.ts';
import { startSites, type Site, type Sites } from '../platform/sites.ts';
import type { Place, Store } from './store.ts';

const tickSecondsMax = 3600;
const pollMs = 20;
const waitMsMax = 120_000;

export type RequestTotals = { A: number; B: number; bytesIn: number; bytesOut: number };
export type Peered = {
  a: Site;
  b: Site;
  /** For files; removed with the sites. */
  directory: string;
  store: Store;
  /** Of each site. */
  places: { a: Place; b: Place };
  /** Bytes that site-b has got from site-a and from its bucket, with HTTP's own, where they are counted. */
  wireBytes: () => number;
  stop: () => Promise<void>;
};

/** Sites site-a and site-b with pool `rbd`; site-b reaches site-a directly, or through the byte counter. */
export async function startPeered(store: Store, { counted }: { counted: boolean }): Promise<Peered> {
  const redirected =
    counted && store.endpoint !== undefined ? await countBytes(store.endpoint, isPresigned) : undefined;
  const places = { a: await store.newPlace(redirected?.url), b: await store.newPlace() };
  const sites: Sites = await startSites(['site-a', 'site-b'], (name) => ({
    ...(name === 'site-a' ? places.a : places.b).options,
    tickSeconds: tickSecondsMax,
  }));
  const [a, b] = sites.all as [Site, Site];
  const directory = mkdtempSync(join(tmpdir(), 'farside-bench-'));
  const counter = await countBytes(a.url);
  const stop = async (): Promise<void> => {
    for (const { server } of [counter, redirected ?? counter]) server.close();
    await sites.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    for (const site of [a, b]) {
      await site.farsideOk('pool', 'create', 'rbd');
      await site.farsideOk('mirror', 'pool', 'enable', 'rbd', 'image');
    }
    const token = JSON.parse(
      Buffer.from(
        await a.farsideOk('mirror', 'pool', 'peer', 'bootstrap', 'create', '--site-name', 'site-a', 'rbd'),
        'base64',
      ).toString(),
    ) as Record<string, string>;
    const way = counted ? { ...token, mon_host: counter.url } : token;
    writeFileSync(join(directory, 'token'), Buffer.from(JSON.stringify(way)).toString('base64'), { mode: 0o600 });
    await b.farsideOk(
      'mirror',
      'pool',
      'peer',
      'bootstrap',
      'import',
      '--site-name',
      'site-b',
      'rbd',
      join(directory, 'token'),
    );
    const wireBytes = (): number => counter.bytes() + (redirected?.bytes() ?? 0);
    return { a, b, directory, store, places, wireBytes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Counter = { server: Server; url: string; bytes: () => number };

/** Site-a and its CLI sign by header; site-b has a connection of its own, on which it reads what it was redirected to. */
const isPresigned = (firstBytes: Buffer): boolean => firstBytes.includes('X-Amz-Signature=');

/** What the server at `far` answers through `url`, on connections whose first request `counts`. */
async function countBytes(far: string, counts: (firstBytes: Buffer) => boolean = () => true): Promise<Counter> {
  let bytes = 0;
  const server = createServer((near) => {
    const behind = connect(Number(new URL(far).port), '127.0.0.1');
    near.once('data', (first: Buffer) => {
      if (counts(first)) behind.on('data', (data: Buffer) => (bytes += data.length));
    });
    near.pipe(behind).pipe(near);
    near.on('error', () => behind.destroy());
    behind.on('error', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bytes: () => bytes };
}

export async function totals(...sites: readonly Site[]): Promise<RequestTotals> {
  const total = { A: 0, B: 0, bytesIn: 0, bytesOut: 0 };
  for (const site of sites) {
    const { requests } = (await (await site.fetch('/v1/site')).json()) as { requests: RequestTotals };
    for (const key of Object.keys(total) as (keyof RequestTotals)[]) total[key] += requests[key];
  }
  return total;
}

export const since = (after: RequestTotals, before: RequestTotals): RequestTotals => ({
  A: after.A - before.A,
  B: after.B - before.B,
  bytesIn: after.bytesIn - before.bytesIn,
  bytesOut: after.bytesOut - before.bytesOut,
});

/** The id of the newest complete non-primary mirror snapshot of a replica's primary; undefined while there is none. */
export async function syncedTo(
  site: Pick<Site, 'fetch'>,
  image: string,
): Promise<{ primarySnapId: number } | undefined> {
  const answer = await site.fetch(`/v1/pools/rbd/images/${image}/snaps?all=true`);
  if (!answer.ok) return undefined;
  const snapshots = (await answer.json()) as {
    namespace: { type: string; state?: string; complete?: boolean; primary_snap_id?: number };
  }[];
  const copies = snapshots.filter(({ namespace }) => namespace.state === 'non-primary' && namespace.complete);
  const newest = copies.at(-1)?.namespace.primary_snap_id;
  return newest === undefined ? undefined : { primarySnapId: newest };
}

/** Waits until the replica at `site` is complete at snapshot `snapId` of its primary or a newer one. Answers how often it looked. */
export async function replicaAt(
  site: Pick<Site, 'name' | 'fetch'>,
  image: string,
  snapId: number,
  everyMs = pollMs,
): Promise<number> {
  const untilMs = clock.nowMs() + waitMsMax;
  for (let looks = 1; clock.nowMs() < untilMs; looks++) {
    const synced = await syncedTo(site, image);
    if (synced && synced.primarySnapId >= snapId) return looks;
    await clock.sleep(everyMs);
  }
  throw new Error(`${site.name}: ${image} is not complete at snapshot ${snapId} after ${waitMsMax / 1000} s`);
}

export async function post(site: Pick<Site, 'fetch'>, path: string, body: unknown = {}): Promise<unknown> {
  const answer = await site.fetch(path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** Enables mirroring; answers when the replica is complete, and how many seconds that took. */
export async function enableAndSync(from: Site, to: Site, image: string): Promise<number> {
  const startMs = performance.now();
  await post(from, `/v1/pools/rbd/images/${image}/mirror`, { mode: 'snapshot' });
  await replicaAt(to, image, 1);
  return (performance.now() - startMs) / 1000;
}

/** Takes a mirror snapshot; answers when the replica has it, and how many seconds that took. */
export async function snapshotAndSync(from: Site, to: Site, image: string): Promise<number> {
  const startMs = performance.now();
  const { id } = (await post(from, `/v1/pools/rbd/images/${image}/mirror/snapshot`)) as { id: number };
  await replicaAt(to, image, id);
  return (performance.now() - startMs) / 1000;
}
