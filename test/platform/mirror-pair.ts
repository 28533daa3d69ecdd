// Two real sites whose pool 'rbd' is mirrored both ways, and how a test looks at them: commands are run as a user would, waiting
// goes through the API.

import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prefixes } from '../../lib/bucket/keys.ts';
import { Client } from '../../lib/cli/client/client.ts';
import { assert, FarsideError } from '../../lib/errors.ts';
import type { ImageSpec } from '../../lib/image/deps.ts';
import { startSites, waitUntil, type EachSite, type Site } from './sites.ts';

/** Of a sync on a machine that has other work. */
const syncWaitMs = 120_000;
/** Looking costs the site a few requests, each of them milliseconds in workerd. */
const lookEveryMs = 100;

export type Pair = { home: string; a: Site; b: Site; stop(): Promise<void> };

export const specOf = (image: string): ImageSpec => ({ pool: 'rbd', namespace: '', image });

export const clientOf = ({ name, url, token }: Site): Client =>
  new Client({ name, url, token, platform: 'test' }, fetch);

/** Starts both, makes the pools and introduces the sites to each other. */
export async function startPair(options: EachSite): Promise<Pair> {
  const optionsOf = typeof options === 'function' ? options : () => options;
  const sites = await startSites(['site-a', 'site-b'], (name) => ({ ...optionsOf(name), runsHere: true }));
  try {
    const [a, b] = sites.all;
    assert(a !== undefined && b !== undefined, 'two sites were started');
    mkdirSync(join(sites.home, 'files'));
    await Promise.all([a, b].map((site) => site.farsideOk('pool', 'create', 'rbd')));
    await a.farsideOk('mirror', 'pool', 'enable', '--site-name', 'site-a', 'rbd', 'image');
    const token = join(sites.home, 'files', 'token');
    writeFileSync(token, await a.farsideOk('mirror', 'pool', 'peer', 'bootstrap', 'create', 'rbd'));
    await b.farsideOk('mirror', 'pool', 'peer', 'bootstrap', 'import', '--site-name', 'site-b', 'rbd', token);
    return { home: sites.home, a, b, stop: () => sites.stop() };
  } catch (cause) {
    await sites.stop();
    throw cause;
  }
}

/** A path of the pair's own scratch folder. */
export const scratch = (pair: Pair, name: string): string => join(pair.home, 'files', name);

/** Bytes that do not compress, the same for the same seed. */
export function noise(seed: string, byteCount: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(byteCount));
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Uint8Array);
  return hash.digest('hex');
}

export async function importBytes(
  pair: Pair,
  site: Site,
  image: string,
  bytes: Uint8Array,
  ...options: string[]
): Promise<void> {
  const path = scratch(pair, `${image}.in`);
  writeFileSync(path, bytes);
  await site.farsideOk('import', path, image, ...options);
}

/** Of what `farside export` writes. */
export async function exportedSha256(pair: Pair, site: Site, source: string): Promise<string> {
  const path = scratch(pair, `${site.name}.out`);
  rmSync(path, { force: true });
  await site.farsideOk('export', source, path);
  return sha256OfFile(path);
}

type MirrorNamespace = { state: string; complete?: boolean; primary_snap_id?: number };

async function newestMirrorSnapshot(
  site: Site,
  image: string,
): Promise<{ id: number; at: MirrorNamespace } | undefined> {
  const listed = await orAbsent(clientOf(site).listSnapshots(specOf(image), { all: true }));
  const newest = (listed ?? []).findLast(({ namespace }) => namespace?.type === 'mirror');
  return newest && { id: newest.id, at: newest.namespace as unknown as MirrorNamespace };
}

/** Waits until the newest mirror snapshot of `from` is complete at `to`. */
export async function waitSynced(image: string, { from, to }: { from: Site; to: Site }): Promise<void> {
  const target = await newestMirrorSnapshot(from, image);
  assert(target !== undefined, `${image} has a mirror snapshot`);
  const arrived = async (): Promise<boolean> => {
    const newest = await newestMirrorSnapshot(to, image);
    return newest?.at.complete === true && newest.at.primary_snap_id === target.id;
  };
  await waitUntil(arrived, `snapshot ${target.id} of ${image} is complete at ${to.name}`, syncWaitMs, lookEveryMs);
}

export async function imageNames(site: Site): Promise<string[]> {
  return (await clientOf(site).listImages(specOf(''))).map(({ image }) => image).toSorted();
}

/** What `description` says after the state: Ceph's JSON. */
export type Replay = {
  replay_state: 'idle' | 'syncing';
  syncing_percent?: number;
  syncing_bytes_done?: number;
  syncing_bytes_total?: number;
  seconds_until_synced?: number;
};

/** Undefined: there is no such image yet, or it does not replay. */
export async function replayOf(site: Site, image: string): Promise<Replay | undefined> {
  const status = await orAbsent(clientOf(site).imageStatus(specOf(image)));
  return parseReplay(status?.description ?? '');
}

export function parseReplay(description: string): Replay | undefined {
  const json = /^replaying, (\{.*\})$/.exec(description)?.[1];
  return json === undefined ? undefined : (JSON.parse(json) as Replay);
}

/** Waits until so many bytes of the running sync of the image are copied. */
export async function waitSyncing(site: Site, image: string, bytesMin: number): Promise<Replay> {
  let replay: Replay | undefined;
  const isThere = async (): Promise<boolean> => {
    replay = await replayOf(site, image);
    return replay?.replay_state === 'syncing' && (replay.syncing_bytes_done ?? 0) >= bytesMin;
  };
  await waitUntil(isThere, `${bytesMin} bytes of ${image} are copied to ${site.name}`, syncWaitMs, lookEveryMs);
  return replay!;
}

export async function imageIdOf(site: Site, image: string): Promise<string> {
  return (await clientOf(site).imageInfo(specOf(image))).id;
}

export type Packs = { count: number; bytes: number };

export async function packsOf(site: Site, imageId: string): Promise<Packs> {
  const packs: Packs = { count: 0, bytes: 0 };
  for await (const { bytes } of site.bucket().listAll(prefixes.packs(imageId))) {
    packs.count += 1;
    packs.bytes += bytes;
  }
  return packs;
}

/** What the site has asked of its bucket since it was started. */
export const requestsOf = async (site: Site) => (await clientOf(site).siteInfo()).requests;

async function orAbsent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
