// Owns the life of an image: create, rename, resize, remove, list. Each is one read of the name, one of the header and one
// compare-and-swap, whatever the image's size.
//
// Creation writes the header first and the name last, so a name never points to nothing; a creation that lost the race for
// the name deletes its header again, and one that died leaves a header of some 500 bytes that nothing refers to.

import pLimit from 'p-limit';

import { backOff, raceBackoff } from '../bucket/backoff.ts';
import { createDocument, racesMax, readDocument, type Stored } from '../bucket/document.ts';
import { checkName, keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { assertWritable, isNonPrimary, openHeader, readHeader, replaceHeader, updateHeader } from './access.ts';
import { assertNotAttached, ownerOf } from './journal/attachment.ts';
import { forgetGone, unlinkFromParent } from './clones/children.ts';
import { assertPacksSafe } from './collect/condemned.ts';
import type { ImageDeps, ImageSpec, RemovalQueue } from './deps.ts';
import { featuresDefault, updatedFeatures, withDataPool } from './features.ts';
import {
  headerSchema,
  objectBytesDefault,
  trashSnapshots,
  userSnapshots,
  type Header,
  type Root,
  sizeBytesMax,
} from './header.ts';
import { newImageId, parseImageId, type ImageId } from './ids.ts';
import { imageListing, parentInfo, type ImageListing } from './info.ts';
import { childrenOf, resized } from './clones/lineage.ts';
import {
  assertPlace,
  bearsName,
  checkSpec,
  claimName,
  freeName,
  headerKey,
  readName,
  specText,
  type NameDeps,
} from './names.ts';
import { truncateRoot } from './map/write.ts';

export { openHeader } from './access.ts';
export { imageInfo } from './info.ts';

export const objectBytesMin = 4 * 1024;
export const objectBytesMax = 32 * 1024 * 1024;
/** Headers read at once while listing. */
const listTransfersMax = 16;

export type CreateOptions = {
  sizeBytes: number;
  objectBytes?: number | undefined;
  features?: readonly string[] | undefined;
  /** Of another name than the pool. */
  dataPool?: string | undefined;
  /** Further parts of the first header, for mirroring and import (root, snapshots, mirror …). */
  initial?: Partial<Pick<Header, 'root' | 'snapshots' | 'nextSnapshotId' | 'meta' | 'mirror' | 'parent'>> | undefined;
};

/** EEXIST: the name is taken. ENOENT: no such pool. EDOM, EFBIG: sizes. Three requests. */
export async function createImage(deps: NameDeps, spec: ImageSpec, options: CreateOptions): Promise<ImageId> {
  await checkNewImage(deps, spec, options);
  const imageId = newImageId(deps.random);
  const header = newHeader(deps, spec, imageId, options);
  const stored = await createDocument(deps.bucket, headerKey(imageId), header, deps.random);
  if (!stored) throw new FarsideError('EAGAIN', `image id ${imageId} was drawn twice; try again`, { retry: 'now' });
  if ((await claimName(deps, spec, imageId)) === 'claimed') {
    await deps.born?.(header);
    return imageId;
  }
  // Surely lost, so no name points to this header and none will.
  await deps.bucket.delete([headerKey(imageId)]);
  throwExists(spec);
}

/** Whether such an image could be made, its name apart: EINVAL, EDOM, EFBIG, ENOENT as `createImage`. */
export async function checkNewImage(deps: NameDeps, spec: ImageSpec, options: CreateOptions): Promise<void> {
  checkSpec(spec);
  checkObjectBytes(options.objectBytes ?? objectBytesDefault);
  checkSizeBytes(options.sizeBytes);
  await assertPlace(deps, spec.pool, spec.namespace);
  if (options.dataPool !== undefined) await assertDataPool(deps, options.dataPool);
}

async function assertDataPool(deps: NameDeps, pool: string): Promise<void> {
  if (await deps.bucket.head(keyText({ kind: 'pool', pool: checkName('pool', pool) }))) return;
  throw new FarsideError('ENOENT', `data pool '${pool}' does not exist`);
}

/** The first header of an image. */
export function newHeader(deps: NameDeps, spec: ImageSpec, imageId: ImageId, options: CreateOptions): Header {
  const nowMs = deps.clock.nowMs();
  return {
    version: 1,
    imageId,
    pool: spec.pool,
    namespace: spec.namespace,
    name: spec.image,
    sizeBytes: options.sizeBytes,
    objectBytes: options.objectBytes ?? objectBytesDefault,
    features: withDataPool(options.features ?? featuresDefault, options.dataPool),
    ...(options.dataPool === undefined ? {} : { dataPool: options.dataPool }),
    createdAtMs: nowMs,
    modifiedAtMs: nowMs,
    root: null,
    snapshots: [],
    nextSnapshotId: 1,
    meta: {},
    collectGeneration: 0,
    ...options.initial,
  };
}

function checkObjectBytes(objectBytes: number): void {
  const isPowerOfTwo = Number.isInteger(Math.log2(objectBytes));
  if (isPowerOfTwo && objectBytes >= objectBytesMin && objectBytes <= objectBytesMax) return;
  throw new FarsideError('EDOM', `object size ${objectBytes} must be a power of two between 4 KiB and 32 MiB`);
}

function checkSizeBytes(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw new FarsideError('EINVAL', `invalid image size ${sizeBytes}`);
  if (sizeBytes > sizeBytesMax) throw new FarsideError('EFBIG', `image size ${sizeBytes} is above the largest, 4 PiB`);
}

/**
 * Within a pool and namespace. The name changes at the header's compare-and-swap; before it the image has the old name,
 * after it the new one. A rename that died may be repeated with the same words. EEXIST: the new name is taken.
 */
export async function renameImage(deps: NameDeps, spec: ImageSpec, newName: string): Promise<void> {
  checkSpec(spec);
  checkName('image', newName);
  if (newName === spec.image) await openHeader(deps, spec).then(() => throwExists(spec));
  const target: ImageSpec = { pool: spec.pool, namespace: spec.namespace, image: newName };
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (lostCount > 0) await backOff(raceBackoff, lostCount - 1, deps);
    const stored = await headerToRename(deps, spec, target);
    if (await renameOnce(deps, stored, target)) return freeName(deps, spec, stored.value.imageId);
  }
  throw new FarsideError('EAGAIN', `image ${spec.image} is changed by others too often; try again`, { retry: 'later' });
}

/** As `openHeader`, but also finds the image of an earlier attempt that died before it let go of the old name. */
async function headerToRename(deps: NameDeps, spec: ImageSpec, target: ImageSpec): Promise<Stored<Header>> {
  const imageId = await readName(deps, spec);
  const stored = imageId && (await readHeader(deps, imageId));
  if (stored && (bearsName(stored.value, spec) || bearsName(stored.value, target))) return stored;
  return openHeader(deps, spec); // says what is missing
}

/** One attempt from a header just read; false when the header has changed since. */
async function renameOnce(deps: NameDeps, stored: Stored<Header>, target: ImageSpec): Promise<boolean> {
  const header = stored.value;
  if (bearsName(header, target)) return true;
  assertWritable(header);
  if ((await claimName(deps, target, parseImageId(header.imageId))) === 'taken') throwExists(target);
  const value = { ...header, name: target.image, modifiedAtMs: deps.clock.nowMs() };
  return (await replaceHeader(deps, stored, value)) !== undefined;
}

export function throwExists(spec: ImageSpec): never {
  throw new FarsideError('EEXIST', `image ${specText(spec)} already exists`);
}

/** `feature enable` and `feature disable`: EINVAL with rbd's reasons, EROFS on a non-primary. */
export async function updateFeatures(
  deps: NameDeps,
  spec: ImageSpec,
  features: readonly string[],
  action: 'enable' | 'disable',
): Promise<void> {
  await updateHeader(deps, spec, (header) => {
    const isJournalNeeded =
      header.mirror?.mode === 'journal' && action === 'disable' && features.includes('journaling');
    if (isJournalNeeded)
      throw new FarsideError(
        'EINVAL',
        'cannot disable journaling: image mirroring enabled and mirror pool mode set to image',
      );
    return { ...header, features: updatedFeatures(header.features, features, action) };
  });
}

export type ResizeOptions = { sizeBytes: number; allowShrink?: boolean };

/** Growing changes the header only: new space reads as zeros. Shrinking drops the map beyond the end, also one step. */
export async function resizeImage(deps: ImageDeps, spec: ImageSpec, options: ResizeOptions): Promise<void> {
  checkSizeBytes(options.sizeBytes);
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (lostCount > 0) await backOff(raceBackoff, lostCount - 1, deps);
    const stored = await openHeader(deps, spec);
    assertWritable(stored.value);
    if (options.sizeBytes === stored.value.sizeBytes) return;
    const root = await rootOfSize(deps, stored.value, options);
    const value = { ...resized(stored.value, options.sizeBytes), root, modifiedAtMs: deps.clock.nowMs() };
    if (await replaceHeader(deps, stored, value)) return;
  }
  throw new FarsideError('EAGAIN', `image ${spec.image} is changed by others too often; try again`, { retry: 'later' });
}

/** The root at the new size; its new map nodes are durable when this resolves, and safe from a collection under way. */
async function rootOfSize(deps: ImageDeps, header: Header, options: ResizeOptions): Promise<Root | null> {
  if (options.sizeBytes > header.sizeBytes) return header.root;
  assertNotAttached(header);
  if (options.allowShrink !== true) {
    throw new FarsideError('EINVAL', 'shrinking an image is only allowed with the --allow-shrink flag');
  }
  const { root, written } = await truncateRoot(deps, header, header.root, options.sizeBytes);
  await assertPacksSafe(deps, header, header, written);
  return root;
}

export type RemoveOptions = {
  /** Where the deletion of the image's objects goes on; without one, the caller sees to it. */
  queue?: RemovalQueue | undefined;
  /** Mirroring removes replicas, with their snapshots. */
  byMirroring?: boolean;
};

/**
 * The image is gone at the header's compare-and-swap; its objects go after, in the background. Repeating a removal that died
 * wakes it again, and says ENOENT. ENOTEMPTY: it has snapshots. EBUSY: it is mirrored (disable mirroring first).
 */
export async function removeImage(deps: NameDeps, spec: ImageSpec, options: RemoveOptions = {}): Promise<ImageId> {
  const underWay = await removalUnderWay(deps, spec);
  const imageId = underWay ?? (await markRemoving(deps, spec, options));
  // The name reads as free already. Its document stays until the objects are gone: it is how housekeeping finds them again.
  await options.queue?.send([{ type: 'remove', imageId }]);
  if (underWay) throw new FarsideError('ENOENT', `error opening image ${spec.image}`);
  return imageId;
}

async function markRemoving(deps: NameDeps, spec: ImageSpec, options: RemoveOptions): Promise<ImageId> {
  const byMirroring = options.byMirroring === true;
  const mark = (header: Header): Header => {
    if (!byMirroring) assertRemovable(header);
    return { ...header, removing: true };
  };
  const stored = await openHeader(deps, spec);
  // What is registered may have died: then it does not stand in the way.
  if (childrenOf(stored.value).length > 0) await forgetGone(deps, stored.value);
  // `assertRemovable` answers for non-primary images: rbd says EBUSY here, not EROFS.
  const target = childrenOf(stored.value).length > 0 ? spec : stored;
  const { value } = await updateHeader(deps, target, mark, { byMirroring: true });
  // At once, so that its parent's snapshot can be removed next; and again when its objects are gone (remove.ts).
  await unlinkFromParent(deps, value);
  return parseImageId(value.imageId);
}

export function assertRemovable(header: Header): void {
  if (isNonPrimary(header) || ownerOf(header)) throw new FarsideError('EBUSY', 'image still has watchers');
  if (trashSnapshots(header).some(({ id }) => childrenOf(header, id).length > 0))
    throw new FarsideError('ENOTEMPTY', linkedClonesText);
  if (userSnapshots(header).length > 0) {
    throw new FarsideError('ENOTEMPTY', "image has snapshots - not removing: remove them with 'snap purge' first");
  }
  if (childrenOf(header).length > 0) throw new FarsideError('ENOTEMPTY', linkedClonesText);
  if (header.mirror) throw new FarsideError('EBUSY', 'image is mirrored - not removing: disable mirroring of it first');
}

export const linkedClonesText =
  'image has snapshots with linked clones - these must be deleted or flattened before the image can be removed.';

async function removalUnderWay(deps: NameDeps, spec: ImageSpec): Promise<ImageId | undefined> {
  checkSpec(spec);
  const imageId = await readName(deps, spec);
  const stored = imageId && (await readDocument(deps.bucket, headerKey(imageId), headerSchema));
  return stored && stored.value.removing === true ? imageId : undefined;
}

export type ListOptions = { after?: string | undefined; limit?: number | undefined };
export type ImageListPage = { images: ImageListing[]; next?: string };

/**
 * rbd's `ls -l` JSON, in UTF-8 order of the encoded names; snapshots follow their image. One LIST, and two reads per image.
 * `limit` counts names (1,000 at most); `next` is the `after` of the following page.
 */
export async function listImages(
  deps: NameDeps,
  pool: string,
  namespace: string,
  options: ListOptions = {},
): Promise<ImageListPage> {
  checkName('pool', pool);
  if (namespace !== '') checkName('namespace', namespace);
  const after =
    options.after === undefined ? undefined : keyText({ kind: 'name', pool, namespace, image: options.after });
  const page = await deps.bucket.list({ prefix: prefixes.names(pool, namespace), after, limit: options.limit ?? 1000 });
  const names = page.objects.map((object) => parseKey(object.key)).filter((key) => key?.kind === 'name');
  if (names.length === 0 && after === undefined) await assertPlace(deps, pool, namespace);
  const limit = pLimit(listTransfersMax);
  const listings = await Promise.all(names.map((name) => limit(() => listingOfName(deps, name))));
  const last = names.at(-1)?.image;
  return {
    images: listings.flat(),
    ...(page.more && last !== undefined ? { next: last } : {}),
  };
}

/** Nothing for a name that no image bears. Headers may be large, so only the rows are kept. */
async function listingOfName(deps: NameDeps, spec: ImageSpec): Promise<ImageListing[]> {
  const imageId = await readName(deps, spec);
  const stored = imageId && (await readHeader(deps, imageId));
  return stored && bearsName(stored.value, spec)
    ? imageListing(stored.value, await parentInfo(deps, stored.value))
    : [];
}
