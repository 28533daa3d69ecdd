// Owns the making of clones. A clone's map is the snapshot's map, so cloning is a constant number of requests whatever the
// image's size, and a clone is read and written as any image is; only its packs may be the parent's (pack-store.ts).
//
// The order of writes, and what is left when it is cut short, is told in children.ts.

import { createDocument } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { openHeader, readHeader, updateHeader } from '../access.ts';
import { unlinkFromParent } from './children.ts';
import type { ImageSpec } from '../deps.ts';
import { inheritedFeatures, newImageFeatures, sharedFeatures } from '../features.ts';
import { ancestorsMax, type Child, type Header, type Parent, type Snapshot } from '../header.ts';
import { newImageId, parseImageId, type ImageId } from '../ids.ts';
import { checkNewImage, newHeader, throwExists } from '../images.ts';
import { findSnapshot, type SnapshotRef } from '../info.ts';
import { childrenOf, withChild } from './lineage.ts';
import { bearsName, claimName, headerKey, readName, type NameDeps } from '../names.ts';

/** Keeps the parent's header, which every change of it rewrites, below a megabyte. */
export const childrenMax = 5000;

export const cloneFormats = ['1', '2', 'auto'] as const;
export type CloneFormat = (typeof cloneFormats)[number];

export type CloneOptions = {
  /** `rbd_default_clone_format`; auto: 1 when the snapshot is protected and in the same namespace, else 2. */
  cloneFormat?: CloneFormat | undefined;
  /** The parent's, unless given. */
  features?: readonly string[] | undefined;
  /** Without the features of a single client. */
  shared?: boolean | undefined;
  dataPool?: string | undefined;
  /** Must be the parent's. */
  objectBytes?: number | undefined;
  /** Made to try a failover out (lib/mirror/verbs/test-failover.ts). */
  isTest?: boolean;
};

/**
 * ENOENT: no such image, snapshot or pool. EEXIST: the name is taken. EINVAL: format 1 of an unprotected snapshot, or a chain
 * too long. EXDEV: format 1 across namespaces. ENOSYS: without layering. Seven requests.
 */
export async function cloneImage(
  deps: NameDeps,
  source: ImageSpec,
  snapshot: SnapshotRef,
  target: ImageSpec,
  options: CloneOptions = {},
): Promise<ImageId> {
  const stored = await openHeader(deps, source);
  checkObjectBytes(stored.value, options.objectBytes);
  const { dataPool } = options;
  await checkNewImage(deps, target, { sizeBytes: 0, objectBytes: stored.value.objectBytes, dataPool });
  await refuseTaken(deps, target);
  const imageId = newImageId(deps.random);
  const sinceMs = deps.clock.nowMs();
  const register = (header: Header): Header => {
    featuresOf(header, options); // refuses before anything is registered
    const { id, cloneFormat } = checked(header, findSnapshot(header, snapshot), target, options);
    return withChild(header, { imageId, pool: target.pool, snapshotId: id, cloneFormat, sinceMs });
  };
  const { value: parent } = await updateHeader(deps, stored, register, { byMirroring: true });
  const child = childrenOf(parent).find((one) => one.imageId === imageId)!;
  await create(deps, target, parent, child, options);
  return imageId;
}

function checkObjectBytes(parent: Header, objectBytes = parent.objectBytes): void {
  if (objectBytes === parent.objectBytes) return;
  throw new FarsideError(
    'EOPNOTSUPP',
    `a clone shares its parent's map, so its object size is the parent's, ${parent.objectBytes} bytes: leave the object size out`,
  );
}

async function refuseTaken(deps: NameDeps, target: ImageSpec): Promise<void> {
  const taken = await readName(deps, target);
  const holder = taken && (await readHeader(deps, taken));
  if (holder && bearsName(holder.value, target)) throwExists(target);
}

const refusal = (message: string): FarsideError => new FarsideError('EINVAL', message);

function checked(
  parent: Header,
  snapshot: Snapshot,
  target: ImageSpec,
  { cloneFormat = 'auto', features }: CloneOptions,
): Pick<Child, 'cloneFormat'> & { id: number } {
  const isNear = parent.namespace === target.namespace;
  const format = cloneFormat === 'auto' ? (snapshot.protected && isNear ? '1' : '2') : cloneFormat;
  if (format === '1' && !isNear) throw new FarsideError('EXDEV', 'clone v2 required for cross-namespace clones');
  if (!parent.features.includes('layering')) throw new FarsideError('ENOSYS', 'parent image must support layering');
  if (features && !features.includes('layering'))
    throw new FarsideError('ENOSYS', 'cloning image must support layering');
  if (format === '1' && !snapshot.protected) throw refusal('parent snapshot must be protected');
  if ((parent.parent?.packsIn.length ?? 0) >= ancestorsMax)
    throw refusal(`image ${parent.name} is ${ancestorsMax} clones deep: flatten it first`);
  if (childrenOf(parent).length >= childrenMax)
    throw new FarsideError('ENOSPC', `image ${parent.name} has ${childrenMax} clones: flatten or remove some first`);
  return { id: snapshot.id, cloneFormat: format === '1' ? 1 : 2 };
}

/** The link of a clone of a snapshot of `parent`. */
export function parentLink(parent: Header, snapshot: Snapshot, cloneFormat: Child['cloneFormat']): Parent {
  return {
    imageId: parent.imageId,
    snapshotId: snapshot.id,
    root: snapshot.root,
    overlapBytes: snapshot.sizeBytes,
    cloneFormat,
    packsIn: [parent.imageId, ...(parent.parent?.packsIn ?? [])],
  };
}

function featuresOf(parent: Header, { features, shared = false, dataPool }: CloneOptions): string[] {
  const chosen = features ?? inheritedFeatures(parent.features);
  return newImageFeatures(shared ? sharedFeatures(chosen) : chosen, dataPool);
}

async function create(
  deps: NameDeps,
  target: ImageSpec,
  parent: Header,
  { imageId, snapshotId, cloneFormat }: Child,
  options: CloneOptions,
): Promise<void> {
  const snapshot = parent.snapshots.find(({ id }) => id === snapshotId)!;
  const header = newHeader(deps, target, parseImageId(imageId), {
    sizeBytes: snapshot.sizeBytes,
    objectBytes: parent.objectBytes,
    features: featuresOf(parent, options),
    dataPool: options.dataPool,
    initial: {
      root: snapshot.root,
      meta: parent.meta,
      parent: { ...parentLink(parent, snapshot, cloneFormat), unnamed: true, ...(options.isTest && { isTest: true }) },
    },
  });
  const stored = await createDocument(deps.bucket, headerKey(imageId), header, deps.random);
  if (!stored) throw interrupted();
  if ((await claimName(deps, target, parseImageId(imageId))) === 'taken') {
    // Surely lost, so no name points to this header and none will.
    await deps.bucket.delete([headerKey(imageId)]);
    await unlinkFromParent(deps, header);
    throwExists(target);
  }
  await updateHeader(deps, stored, named, { byMirroring: true }).catch((error: unknown) => {
    throw error instanceof FarsideError && error.code === 'ENOENT' ? interrupted() : error;
  });
  if (options.isTest !== true) await deps.born?.(header);
}

/** From here on the clone is an image like any other. */
function named(header: Header): Header | undefined {
  if (header.parent?.unnamed !== true) return undefined;
  const { unnamed: _, ...parent } = header.parent;
  return { ...header, parent };
}

const interrupted = (): FarsideError =>
  new FarsideError('EAGAIN', 'the making of the clone took too long and was given up; run the same command again', {
    retry: 'now',
  });
