// Owns site.json: the site's identity, the names of its pools and its API tokens (as hashes).

import { z } from 'zod';

import { createDocument, readDocument, updateDocument } from '../bucket/document.ts';
import { keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import type { DocumentDeps } from '../mirror/limits.ts';
import type { PoolRegistry } from '../mirror/pool.ts';
import { forget, recent } from '../mirror/recent.ts';

/** `admin`: everything. `{ pool }`: one pool's images, snapshots, mirroring and data. */
export const scopeSchema = z.union([z.literal('admin'), z.object({ pool: z.string() })]);
export type Scope = z.infer<typeof scopeSchema>;

export const tokenRecordSchema = z.object({
  id: z.string(),
  /** SHA-256 (hex) of the token. */
  hash: z.string(),
  scope: scopeSchema,
  createdAtMs: z.number(),
  expiresAtMs: z.number().optional(),
});
export type TokenRecord = z.infer<typeof tokenRecordSchema>;

const siteSchema = z.object({
  siteId: z.string(),
  name: z.string(),
  createdAtMs: z.number(),
  pools: z.array(z.string()),
  tokens: z.array(tokenRecordSchema),
});
export type SiteDocument = z.infer<typeof siteSchema>;

export const poolsMax = 1000;
const key = keyText({ kind: 'site' });

/** The site's document, made at the first start. Two first starts at once agree. */
export async function createOrReadSite(deps: DocumentDeps, name: string): Promise<SiteDocument> {
  const found = await readDocument(deps.bucket, key, siteSchema);
  if (found) return found.value;
  const value: SiteDocument = {
    siteId: deps.random.uuid(),
    name,
    createdAtMs: deps.clock.nowMs(),
    pools: [],
    tokens: [],
  };
  return (await createDocument(deps.bucket, key, value, deps.random))?.value ?? readSite(deps);
}

export async function readSite(deps: DocumentDeps): Promise<SiteDocument> {
  const stored = await readDocument(deps.bucket, key, siteSchema);
  if (!stored)
    throw new FarsideError('ENOENT', 'this site has lost its site.json: restore the bucket, or start the site anew');
  return stored.value;
}

/** As `readSite`, but up to `limits.cacheMs` old. */
export const recentSite = (deps: DocumentDeps): Promise<SiteDocument> => recent(deps, key, () => readSite(deps));

export async function updateSite(
  deps: DocumentDeps,
  change: (site: SiteDocument) => SiteDocument | undefined,
): Promise<SiteDocument> {
  const stored = await updateDocument(deps.bucket, key, siteSchema, deps.random, deps.clock, change);
  forget(deps, key);
  return stored?.value ?? readSite(deps);
}

/** The names of the pools, which ticks read to know where to look. */
export const poolRegistry = (deps: DocumentDeps): PoolRegistry => ({
  names: async () => (await readSite(deps)).pools,
  add: async (pool) => void (await updateSite(deps, (site) => withPool(site, pool))),
  remove: async (pool) => void (await updateSite(deps, (site) => withoutPool(site, pool))),
});

function withPool(site: SiteDocument, pool: string): SiteDocument | undefined {
  if (site.pools.includes(pool)) return undefined;
  if (site.pools.length >= poolsMax) throw new FarsideError('ENOSPC', `this site has ${poolsMax} pools already`);
  return { ...site, pools: [...site.pools, pool] };
}

function withoutPool(site: SiteDocument, pool: string): SiteDocument | undefined {
  const tokens = site.tokens.filter(({ scope }) => scope === 'admin' || scope.pool !== pool);
  return site.pools.includes(pool) ? { ...site, pools: site.pools.filter((one) => one !== pool), tokens } : undefined;
}
