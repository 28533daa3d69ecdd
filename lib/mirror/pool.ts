// Owns pools/{pool}/pool.json: a pool's mirroring mode and identity, its peers and its bootstrap keys. Secrets of others are
// stored sealed, our own only as hashes. Pools are matched by name between sites.
//
// Mode `pool` is accepted, as in rbd, where it mirrors every image with the journaling feature; journals are a later issue, so
// for now it mirrors nothing by itself.

import { z } from 'zod';

import { createDocument, readDocument, updateDocument, type Stored } from '../bucket/document.ts';
import { checkName, keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { readHeader } from '../image/access.ts';
import { readCatalog } from './catalog.ts';
import type { DocumentDeps, MirrorDeps } from './deps.ts';
import { forget, recent, remember } from './recent.ts';

export const mirrorModes = ['image', 'pool', 'init-only'] as const;
export type MirrorMode = (typeof mirrorModes)[number];

export const directionSchema = z.enum(['rx-only', 'tx-only', 'rx-tx']);
export type Direction = z.infer<typeof directionSchema>;

export const peerRecordSchema = z.object({
  uuid: z.string(),
  direction: directionSchema,
  siteName: z.string(),
  /** The other pool's identity. */
  mirrorUuid: z.string(),
  clientName: z.literal('client.rbd-mirror-peer'),
  /** The other site's identity. */
  fsid: z.string(),
  url: z.string(),
  /** SHA-256 (hex) of the key that the peer shows us. */
  keyHash: z.string(),
  /** The key that we show the peer, sealed. */
  sealedKey: z.string(),
});
export type PeerRecord = z.infer<typeof peerRecordSchema>;

const poolSchema = z.object({
  name: z.string(),
  poolId: z.string(),
  createdAtMs: z.number(),
  mirror: z.object({ mode: z.enum(mirrorModes), mirrorUuid: z.string(), siteName: z.string() }).optional(),
  peers: z.array(peerRecordSchema),
  bootstrap: z.array(z.object({ hash: z.string(), createdAtMs: z.number() })),
});
export type Pool = z.infer<typeof poolSchema>;
export type MirroringPool = Pool & { mirror: NonNullable<Pool['mirror']> };

/** Where a site keeps the names of its pools (site.json); lib/site owns it. Both changes may be repeated. */
export interface PoolRegistry {
  names(): Promise<string[]>;
  add(pool: string): Promise<void>;
  remove(pool: string): Promise<void>;
}

const poolKey = (pool: string): string => keyText({ kind: 'pool', pool });

/** Receives from the peer, sends to the peer. */
export const receives = (peer: PeerRecord): boolean => peer.direction !== 'tx-only';
export const sends = (peer: PeerRecord): boolean => peer.direction !== 'rx-only';
export const isMirroring = (pool: Pool): pool is MirroringPool => pool.mirror !== undefined;

const noPool = (pool: string): FarsideError => new FarsideError('ENOENT', `error opening pool '${pool}'`);
export const notMirroring = (): FarsideError => new FarsideError('EINVAL', 'mirroring not enabled on the pool');

/** ENOENT when there is no such pool. */
export async function readPool(deps: DocumentDeps, pool: string): Promise<Stored<Pool>> {
  const stored = await readDocument(deps.bucket, poolKey(checkName('pool', pool)), poolSchema);
  if (!stored) throw noPool(pool);
  remember(deps, poolKey(pool), stored.value);
  return stored;
}

/** As `readPool`, but possibly a few seconds old. */
export async function recentPool(deps: DocumentDeps, pool: string): Promise<Pool> {
  return recent(deps, poolKey(checkName('pool', pool)), async () => (await readPool(deps, pool)).value);
}

export async function updatePool(
  deps: DocumentDeps,
  pool: string,
  change: (pool: Pool) => Pool | undefined,
): Promise<Pool> {
  const key = poolKey(checkName('pool', pool));
  const stored = await updateDocument(deps.bucket, key, poolSchema, deps.random, deps.clock, change);
  forget(deps, key);
  if (!stored) throw noPool(pool);
  remember(deps, key, stored.value);
  return stored.value;
}

/** EEXIST. The name is registered first: a registered name without a pool is harmless, an unregistered pool gets no ticks. */
export async function createPool(deps: DocumentDeps, registry: PoolRegistry, pool: string): Promise<void> {
  checkName('pool', pool);
  await registry.add(pool);
  const value: Pool = {
    name: pool,
    poolId: deps.random.uuid(),
    createdAtMs: deps.clock.nowMs(),
    peers: [],
    bootstrap: [],
  };
  if (await createDocument(deps.bucket, poolKey(pool), value, deps.random)) return;
  throw new FarsideError('EEXIST', `pool ${pool} already exists`);
}

export const listPools = async (registry: PoolRegistry): Promise<string[]> => (await registry.names()).toSorted();

/** ENOENT; EBUSY while the pool mirrors, ENOTEMPTY while it has images. A removal that died is finished by the next. */
export async function removePool(deps: DocumentDeps, registry: PoolRegistry, pool: string): Promise<void> {
  const stored = await readDocument(deps.bucket, poolKey(checkName('pool', pool)), poolSchema);
  if (!stored && !(await registry.names()).includes(pool)) throw noPool(pool);
  if (stored?.value.mirror) throw new FarsideError('EBUSY', `pool ${pool} is mirrored: disable mirroring first`);
  if (await hasImages(deps, pool)) throw new FarsideError('ENOTEMPTY', `pool ${pool} has images: remove them first`);
  const keys: string[] = [];
  for await (const object of deps.bucket.listAll(prefixes.pool(pool))) keys.push(object.key);
  await deps.bucket.delete(keys);
  forget(deps, poolKey(pool));
  await registry.remove(pool);
}

/** Name documents outlive their images, so the headers are asked. */
async function hasImages(deps: DocumentDeps, pool: string): Promise<boolean> {
  for await (const { key } of deps.bucket.listAll(prefixes.pool(pool))) {
    if (parseKey(key)?.kind !== 'name') continue;
    const name = await readDocument(deps.bucket, key, z.object({ imageId: z.string().nullable() }));
    if (name?.value.imageId && (await readHeader(deps, name.value.imageId))) return true;
  }
  return false;
}

export type EnableResult = { outcome: 'enabled' | 'unchanged' | 'switched'; mode: MirrorMode; from?: MirrorMode };

/** From disabled, the pool gets a new mirror uuid. EINVAL: unknown mode. */
export async function enablePool(
  deps: MirrorDeps,
  pool: string,
  mode: string,
  options: { siteName?: string | undefined } = {},
): Promise<EnableResult> {
  const checked = checkMode(mode);
  let result: EnableResult = { outcome: 'unchanged', mode: checked };
  const mirrorUuid = deps.random.uuid();
  await updatePool(deps, pool, (value) => {
    const siteName = options.siteName ?? value.mirror?.siteName ?? deps.site.name;
    result = enableResult(value.mirror?.mode, checked);
    if (result.outcome === 'unchanged' && siteName === value.mirror?.siteName) return undefined;
    return { ...value, mirror: { mode: checked, mirrorUuid: value.mirror?.mirrorUuid ?? mirrorUuid, siteName } };
  });
  return result;
}

function checkMode(mode: string): MirrorMode {
  const found = mirrorModes.find((known) => known === mode);
  if (!found) throw new FarsideError('EINVAL', "must specify 'image' or 'pool' mode.");
  return found;
}

function enableResult(from: MirrorMode | undefined, mode: MirrorMode): EnableResult {
  if (from === undefined) return { outcome: 'enabled', mode };
  return from === mode ? { outcome: 'unchanged', mode } : { outcome: 'switched', mode, from };
}

/**
 * EBUSY while peers are registered, EINVAL while images are mirrored. Answers whether mirroring was on. An image may be
 * enabled at the same time, so the catalog is read again after the mode is off (see `enableImage`, which does the reverse):
 *
 *   disablePool                        enableImage
 *   mode off (compare-and-swap)        entry into the catalog (compare-and-swap)
 *   reads the catalog                  reads the pool
 *
 * Whoever reads last sees the other and steps back. An entry without a mirrored image counts for `enablingMs`, then as left over
 * from an attempt that died.
 */
export async function disablePool(deps: MirrorDeps, pool: string): Promise<'disabled' | 'unchanged'> {
  const { value } = await readPool(deps, pool);
  if (!value.mirror) return 'unchanged';
  const { mirror } = value;
  await checkDisable(deps, value);
  await updatePool(deps, pool, (now) => {
    if (now.peers.length > 0) throw new FarsideError('EBUSY', 'mirror peers still registered');
    const { mirror: _, ...rest } = now;
    // Tokens stay valid, as rbd's do; with mirroring off they only learn that it is off.
    return rest;
  });
  try {
    await checkDisable(deps, value);
  } catch (error) {
    await updatePool(deps, pool, (now) => (now.mirror ? undefined : { ...now, mirror }));
    throw error;
  }
  return 'disabled';
}

/** Longer than the few requests between an entry and its header take. */
const enablingMs = 60_000;

async function checkDisable(deps: MirrorDeps, pool: Pool): Promise<void> {
  if (pool.peers.length > 0) throw new FarsideError('EBUSY', 'mirror peers still registered');
  const leftOverMs = deps.clock.nowMs() - enablingMs;
  for (const [globalId, { imageId, addedAtMs }] of Object.entries(await readCatalog(deps, pool.name))) {
    const header = await readHeader(deps, imageId);
    if (header?.value.mirror?.globalId !== globalId && addedAtMs < leftOverMs) continue;
    throw new FarsideError('EINVAL', 'failed to disable mirror mode: there are still images with mirroring enabled');
  }
}

type PeerInfo = {
  uuid: string;
  direction: Direction;
  site_name: string;
  mirror_uuid: string;
  client_name: string;
  mon_host?: string;
  key?: string;
};
export type PoolInfo =
  | { mode: 'disabled' }
  | { mode: MirrorMode; site_name: string; mirror_uuid: string; peers: PeerInfo[] };

/** `mirror pool info`. With `all`, as rbd's `--all`: where the peer is; its key is sealed and never shown. */
export async function poolInfo(
  deps: MirrorDeps,
  pool: string,
  options: { all?: boolean | undefined } = {},
): Promise<PoolInfo> {
  const { value } = await readPool(deps, pool);
  if (!value.mirror) return { mode: 'disabled' };
  const { mode, siteName, mirrorUuid } = value.mirror;
  const peers = value.peers.map((peer) => peerInfo(peer, options.all === true));
  return { mode, site_name: siteName, mirror_uuid: mirrorUuid, peers };
}

function peerInfo(peer: PeerRecord, all: boolean): PeerInfo {
  const { uuid, direction, siteName, mirrorUuid, clientName, url } = peer;
  const info: PeerInfo = { uuid, direction, site_name: siteName, mirror_uuid: mirrorUuid, client_name: clientName };
  return all ? { ...info, mon_host: url, key: '' } : info;
}
