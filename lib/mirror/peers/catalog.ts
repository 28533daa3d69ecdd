// Owns pools/{pool}/catalog.json: which images of a pool may be mirrored, by global id. One GET tells a comparison or a status
// what exists.
//
// Invariant: every image whose header says that it is mirrored has its entry. So an entry is added before the header is
// enabled, and removed after it is disabled. The converse is not promised: **the header is the truth**, and an entry whose
// header is gone or bears another global id counts for nothing.

import { z } from 'zod';

import { createDocument, readDocument, replaceDocument, updateDocument } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { assert } from '../../errors.ts';
import { readHeader } from '../../image/access.ts';
import type { Header } from '../../image/header.ts';
import type { Stored } from '../../bucket/document.ts';
import type { DocumentDeps } from '../limits.ts';
import { forget, recall, remember } from '../recent.ts';

/**
 * `name` as it was when the entry was made, at `addedAtMs`: a hint. `replica`: made by mirroring from a peer; also a hint.
 * `removing`: that replica's objects are being deleted; its image id is not used again.
 */
const entrySchema = z.object({
  imageId: z.string(),
  namespace: z.string(),
  name: z.string(),
  addedAtMs: z.number(),
  replica: z.boolean(),
  removing: z.boolean().optional(),
});
export type CatalogEntry = z.infer<typeof entrySchema>;

/** Of a replica in the trash, by the global id that it had (kept-replica.ts). A hint, dropped after `untilMs`. */
const keptSchema = z.object({ imageId: z.string(), untilMs: z.number() });

const catalogSchema = z.object({
  images: z.record(z.string(), entrySchema),
  kept: z.record(z.string(), keptSchema).optional(),
});
export type Catalog = z.infer<typeof catalogSchema>;

const catalogKey = (pool: string): string => keyText({ kind: 'catalog', pool });
const idKey = (pool: string, globalId: string): string => `id of ${pool}/${globalId}`;

/** Entries by global id. */
export async function readCatalog(deps: DocumentDeps, pool: string): Promise<Record<string, CatalogEntry>> {
  return (await readDocument(deps.bucket, catalogKey(pool), catalogSchema))?.value.images ?? {};
}

/**
 * Adds an entry unless the global id has one; answers the entry that it has now, so that racing callers agree.
 * @param seen the catalog as it was read a moment ago, if it was: saves reading it again.
 */
export async function addToCatalog(
  deps: DocumentDeps,
  pool: string,
  globalId: string,
  entry: CatalogEntry,
  seen?: Stored<Catalog>,
): Promise<CatalogEntry> {
  const change = ({ images, ...rest }: Catalog): Catalog | undefined =>
    images[globalId] ? undefined : { ...rest, images: { ...images, [globalId]: entry } };
  const update = () => updateDocument(deps.bucket, catalogKey(pool), catalogSchema, deps.random, deps.clock, change);
  const first = seen && change(seen.value);
  const stored =
    (seen && first && (await replaceDocument(deps.bucket, seen, first, deps.random))) ??
    (await update()) ??
    (await createDocument<Catalog>(deps.bucket, catalogKey(pool), { images: { [globalId]: entry } }, deps.random)) ??
    (await update());
  const now = stored?.value.images[globalId];
  assert(now, 'a catalog that was just written has its entry');
  remember(deps, idKey(pool, globalId), now.imageId);
  return now;
}

/** Notes that the image of the entry is being deleted. */
export async function markRemoving(deps: DocumentDeps, pool: string, globalId: string, imageId: string): Promise<void> {
  await updateDocument(deps.bucket, catalogKey(pool), catalogSchema, deps.random, deps.clock, ({ images, ...rest }) => {
    const entry = images[globalId];
    return entry?.imageId !== imageId || entry.removing
      ? undefined
      : { ...rest, images: { ...images, [globalId]: { ...entry, removing: true } } };
  });
}

/** Removes the entry if it still is for this image. */
export async function removeFromCatalog(
  deps: DocumentDeps,
  pool: string,
  globalId: string,
  imageId: string,
): Promise<void> {
  forget(deps, idKey(pool, globalId));
  await updateDocument(deps.bucket, catalogKey(pool), catalogSchema, deps.random, deps.clock, ({ images, ...rest }) => {
    if (images[globalId]?.imageId !== imageId) return undefined;
    const { [globalId]: _, ...others } = images;
    return { ...rest, images: others };
  });
}

/** Notes the kept replica of a global id, and drops what is past its time. */
export async function noteKept(
  deps: DocumentDeps,
  pool: string,
  globalId: string,
  kept: { imageId: string; untilMs: number },
): Promise<void> {
  const nowMs = deps.clock.nowMs();
  await updateDocument(deps.bucket, catalogKey(pool), catalogSchema, deps.random, deps.clock, (catalog) => {
    const lasting = Object.entries(catalog.kept ?? {}).filter(([, { untilMs }]) => untilMs > nowMs);
    return { ...catalog, kept: { ...Object.fromEntries(lasting), [globalId]: kept } };
  });
}

/** The kept replica's image id, if one was noted. */
export async function keptIn(
  deps: DocumentDeps,
  pool: string,
  globalId: string,
  seen?: Stored<Catalog>,
): Promise<string | undefined> {
  const catalog = seen ?? (await readDocument(deps.bucket, catalogKey(pool), catalogSchema));
  return catalog?.value.kept?.[globalId]?.imageId;
}

/** What is known of a global id. `catalog`: as read on the way, if it was. `entry`: when there is one without a living image. */
export type Lookup = {
  stored?: Stored<Header>;
  catalog?: Stored<Catalog> | undefined;
  entry?: CatalogEntry | undefined;
};

/** One GET when the image was looked up before, else two. */
export async function lookUp(deps: DocumentDeps, pool: string, globalId: string): Promise<Lookup> {
  const known = recall(deps, idKey(pool, globalId));
  const stored = typeof known === 'string' ? await verified(deps, known, pool, globalId) : undefined;
  if (stored) return { stored };
  const catalog = await readDocument(deps.bucket, catalogKey(pool), catalogSchema);
  const entry = catalog?.value.images[globalId];
  const found = entry && (await verified(deps, entry.imageId, pool, globalId));
  if (!found) return { catalog, entry };
  remember(deps, idKey(pool, globalId), entry.imageId);
  return { stored: found };
}

/** The living, mirrored image with this global id. */
export const findImage = async (
  deps: DocumentDeps,
  pool: string,
  globalId: string,
): Promise<Stored<Header> | undefined> => (await lookUp(deps, pool, globalId)).stored;

/** Whether this process has seen a mirrored image with this global id. */
export const hasSeen = (deps: DocumentDeps, pool: string, globalId: string): boolean =>
  recall(deps, idKey(pool, globalId)) !== undefined;

async function verified(
  deps: DocumentDeps,
  imageId: string,
  pool: string,
  globalId: string,
): Promise<Stored<Header> | undefined> {
  const stored = await readHeader(deps, imageId);
  return stored?.value.mirror?.globalId === globalId && stored.value.pool === pool ? stored : undefined;
}
