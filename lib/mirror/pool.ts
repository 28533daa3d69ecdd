// Owns pools/{pool}/pool.json: how a pool and its namespaces are mirrored, the pool's peers and its bootstrap keys. Secrets of
// others are stored sealed, our own only as hashes. Pools are matched by name between sites; peers belong to the pool, mode
// and identity to each namespace. What changes the modes is in pool-mode.ts.

import { z } from 'zod';

import { createDocument, readDocument, updateDocument, type Stored } from '../bucket/document.ts';
import { checkName, keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { readHeader } from '../image/access.ts';
import { hasTrash } from '../image/trash.ts';
import type { DocumentDeps } from './limits.ts';
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
  clientName: z.string(),
  /** The other site's identity. It and what follows are empty while the peer is a mere name (`peer add`). */
  fsid: z.string(),
  url: z.string(),
  /** SHA-256 (hex) of the key that the peer shows us. */
  keyHash: z.string(),
  /** The key that we show the peer, sealed. */
  sealedKey: z.string(),
  /** A bootstrap key of the other site, sealed, that waits for its address. */
  sealedBootstrapKey: z.string().optional(),
  /** It has registered to receive from us and has not called yet; until then it is not shown, and sent nothing. */
  awaited: z.boolean().optional(),
});
export type PeerRecord = z.infer<typeof peerRecordSchema>;

/**
 * How one namespace is mirrored. `remoteNamespace`: where its images are at the peers; absent: in the namespace of the same name.
 * `walkAfter`: in mode `pool`, images with later names are still to be looked at (by-feature-walk.ts).
 */
const namespaceMirrorSchema = z.object({
  mode: z.enum(mirrorModes),
  mirrorUuid: z.string(),
  remoteNamespace: z.string().optional(),
  walkAfter: z.string().optional(),
});
export type NamespaceMirror = z.infer<typeof namespaceMirrorSchema>;

export const poolSchema = z.object({
  name: z.string(),
  poolId: z.string(),
  createdAtMs: z.number(),
  /** Of the default namespace. Without it the pool has no peers. */
  mirror: namespaceMirrorSchema.extend({ siteName: z.string() }).optional(),
  /** Other namespaces that are mirrored. */
  namespaces: z.array(namespaceMirrorSchema.extend({ name: z.string() })).optional(),
  peers: z.array(peerRecordSchema),
  bootstrap: z.array(z.object({ hash: z.string(), createdAtMs: z.number() })),
  /** Which points in time of its images are kept here (keep-policy.ts). */
  retention: z.string().optional(),
  /** When a replica in the trash is due (trash.ts); `writes` tells versions apart. */
  trash: z.object({ dueAtMs: z.number(), writes: z.int() }).optional(),
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

/** By its direction, we receive from the peer, send to the peer. */
export const mayReceive = ({ direction }: Pick<PeerRecord, 'direction'>): boolean => direction !== 'tx-only';
export const maySend = ({ direction }: Pick<PeerRecord, 'direction'>): boolean => direction !== 'rx-only';
/** More than a name: we know where it is, and it knows us. */
export const isKnown = ({ url, sealedKey }: PeerRecord): boolean => url !== '' && sealedKey !== '';
/** Receives from the peer; mirror snapshots are taken for the peer, whether it can be told or not. */
export const receives = (peer: PeerRecord): boolean => mayReceive(peer) && isKnown(peer);
export const sends = (peer: PeerRecord): boolean => maySend(peer) && peer.awaited !== true;
export const isMirroring = (pool: Pool): pool is MirroringPool => pool.mirror !== undefined;

/** How a namespace (the default one is '') is mirrored; undefined: it is not. */
export const mirrorOf = (pool: Pool, namespace: string): NamespaceMirror | undefined =>
  namespace === '' ? pool.mirror : pool.namespaces?.find(({ name }) => name === namespace);

/** Mode `init-only` prepares a pool for mirrored namespaces and mirrors nothing itself. */
export const mirrorsImages = (mirror: NamespaceMirror | undefined): mirror is NamespaceMirror =>
  mirror !== undefined && mirror.mode !== 'init-only';

/** The namespace here that receives the images of a peer's namespace. Undefined: none. Modes see to it that there is one at most. */
export function namespaceFor(pool: Pool, remoteNamespace: string): string | undefined {
  return mirroredNamespaces(pool).find(({ name, remoteNamespace: remote = name }) => remote === remoteNamespace)?.name;
}

/** Of the pool, the default one included. */
export const mirroredNamespaces = (pool: Pool): (NamespaceMirror & { name: string })[] =>
  [...(pool.mirror ? [{ ...pool.mirror, name: '' }] : []), ...(pool.namespaces ?? [])].filter(mirrorsImages);

export function withNamespace(pool: Pool, name: string, mirror: NamespaceMirror | undefined): Pool {
  const others = (pool.namespaces ?? []).filter((one) => one.name !== name);
  return { ...pool, namespaces: mirror ? [...others, { ...mirror, name }] : others };
}

/** With another mirroring of a namespace that is mirrored. */
export function withMirror(pool: Pool, name: string, mirror: NamespaceMirror): Pool {
  if (name !== '') return withNamespace(pool, name, mirror);
  return pool.mirror ? { ...pool, mirror: { ...mirror, siteName: pool.mirror.siteName } } : pool;
}

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
  if (stored && (stored.value.mirror || (stored.value.namespaces?.length ?? 0) > 0))
    throw new FarsideError('EBUSY', `pool ${pool} is mirrored: disable mirroring of it and of its namespaces first`);
  if ((await hasImages(deps, prefixes.pool(pool))) || (await hasTrash(deps, pool)))
    throw new FarsideError('ENOTEMPTY', `pool ${pool} has images: remove them first, also from the trash`);
  const keys: string[] = [];
  for await (const object of deps.bucket.listAll(prefixes.pool(pool))) keys.push(object.key);
  await deps.bucket.delete(keys);
  forget(deps, poolKey(pool));
  await registry.remove(pool);
}

/** Whether a name under the prefix is an image's. Name documents outlive their images, so the headers are asked. */
export async function hasImages(deps: DocumentDeps, prefix: string): Promise<boolean> {
  for await (const { key } of deps.bucket.listAll(prefix)) {
    if (parseKey(key)?.kind !== 'name') continue;
    const name = await readDocument(deps.bucket, key, z.object({ imageId: z.string().nullable() }));
    const header = name?.value.imageId ? (await readHeader(deps, name.value.imageId))?.value : undefined;
    if (header && !header.trash) return true;
  }
  return false;
}
