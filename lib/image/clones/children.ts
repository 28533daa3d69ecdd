// Owns the link between a clone and its parent, which are two headers. The parent's `children` is what holds the snapshot, so a
// child is registered there first and forgotten there last:
//
//   clone             registers the child; creates its header; claims its name
//   flatten, remove   the child's header says so; then the child is forgotten
//
// Whoever dies in between leaves a registration without a child. `forgetGone` finds these, and makes sure that no late
// creation can bring the child about, before it forgets it:
//
//   clone of P as C (slow)                    forgetGone
//   registers C with P
//                                             no header of C: puts one that says `removing`, and leaves it
//                                             forgets C
//   creates the header of C: refused
//
//   clone of P as C (slow)                    forgetGone
//   creates the header of C, `unnamed`
//                                             reads it; nobody bears the name: swaps it to `removing`
//   claims the name; swaps `unnamed` away: refused
// A header without a link to P may be about to get one (a replica, lib/mirror/replica/replica-parent.ts): it is rewritten unchanged, so
// that a swap from the version before is refused.

import pLimit from 'p-limit';

import { createDocument, readDocument, replaceDocument, type Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { openHeader, readHeader, updateHeader } from '../access.ts';
import type { ImageSpec } from '../deps.ts';
import { headerSchema, type Child, type Header } from '../header.ts';
import { findSnapshot, type SnapshotRef } from '../info.ts';
import { childrenOf, withoutChildren } from './lineage.ts';
import { headerKey, readName, type NameDeps } from '../names.ts';

/** A creation that takes longer is believed dead. */
const creationMs = 5 * 60 * 1000;
/** Children looked at by one call, and at once. */
const looksMax = 1000;
const looksAtOnce = 16;
/** Images listed as descendants. */
const descendantsMax = 10_000;

/** The parent forgets the child. Repeatable; a parent that is gone needs nothing. */
export async function unlinkFromParent(
  deps: NameDeps,
  { imageId, parent }: Pick<Header, 'imageId' | 'parent'>,
): Promise<void> {
  if (!parent) return;
  await forget(deps, parent.imageId, (child) => child.imageId === imageId);
}

async function forget(deps: NameDeps, parentId: string, isGone: (child: Child) => boolean): Promise<void> {
  try {
    const change = (header: Header): Header | undefined => withoutChildren(header, isGone);
    const { value } = await updateHeader(deps, parentId, change, { byMirroring: true });
    if (value.removing !== true) return;
    await deps.spent?.(value.imageId);
    // It may have been the last clone of an image that waits likewise. Deeper than `ancestorsMax` it does not go.
    await unlinkFromParent(deps, value);
  } catch (error) {
    if (!(error instanceof FarsideError) || error.code !== 'ENOENT') throw error;
  }
}

/** Forgets registered children that do not exist. Gives the parent's header as it is then. */
export async function forgetGone(deps: NameDeps, parent: Header): Promise<Header> {
  const limit = pLimit(looksAtOnce);
  const looked = await Promise.all(
    childrenOf(parent)
      .slice(0, looksMax)
      .map((child) => limit(async () => ((await isGone(deps, parent, child)) ? [child] : []))),
  );
  const gone = new Map(looked.flat().map((child) => [child.imageId, child.sinceMs]));
  if (gone.size === 0) return parent;
  await forget(deps, parent.imageId, ({ imageId, sinceMs }) => gone.get(imageId) === sinceMs);
  return (await readHeader(deps, parent.imageId))?.value ?? parent;
}

/** True: it is not there, and never will be by what was begun before. */
async function isGone(deps: NameDeps, parent: Header, child: Child): Promise<boolean> {
  const isYoung = deps.clock.nowMs() - child.sinceMs < creationMs;
  const stored = await readDocument(deps.bucket, headerKey(child.imageId), headerSchema);
  if (!stored)
    return (
      !isYoung &&
      (await createDocument(deps.bucket, headerKey(child.imageId), fence(parent, child), deps.random)) !== undefined
    );
  const header = stored.value;
  if (header.removing === true) return true;
  if (header.parent?.imageId !== parent.imageId) return !isYoung && (await rewrite(deps, stored, header));
  if (header.parent.unnamed !== true || isYoung || (await bearsItsName(deps, header))) return false;
  return await rewrite(deps, stored, { ...header, removing: true });
}

async function rewrite(deps: NameDeps, stored: Stored<Header>, header: Header): Promise<boolean> {
  return (await replaceDocument(deps.bucket, stored, header, deps.random)) !== undefined;
}

const bearsItsName = async (deps: NameDeps, { imageId, pool, namespace, name }: Header): Promise<boolean> =>
  (await readName(deps, { pool, namespace, image: name })) === imageId;

/** Stands where the header of a child would be, for good: some 300 bytes for a creation that died at the wrong moment. */
const fence = ({ objectBytes }: Header, { imageId, pool, sinceMs }: Child): Header => ({
  version: 1,
  imageId,
  pool,
  namespace: '',
  name: imageId,
  sizeBytes: 0,
  objectBytes,
  features: [],
  createdAtMs: sinceMs,
  modifiedAtMs: sinceMs,
  root: null,
  snapshots: [],
  nextSnapshotId: 1,
  meta: {},
  removing: true,
  collectGeneration: 0,
});

/** One clone, in the fields of rbd's `children`. */
export type ChildListing = { pool: string; pool_namespace: string; image: string; id: string; trash: boolean };

export type ChildrenOptions = {
  /** Of one snapshot only. */
  snapshot?: SnapshotRef | undefined;
  /** Clones of clones too. */
  descendants?: boolean;
};

/** By pool, namespace and name. One read per clone. ENOENT: no such image or snapshot. */
export async function listChildren(
  deps: NameDeps,
  spec: ImageSpec,
  { snapshot, descendants = false }: ChildrenOptions = {},
): Promise<ChildListing[]> {
  const { value: header } = await openHeader(deps, spec);
  const snapshotId = snapshot === undefined ? undefined : findSnapshot(header, snapshot).id;
  const found = await livingChildren(deps, header, snapshotId);
  if (descendants)
    for (let at = 0; at < found.length && found.length < descendantsMax; at++)
      found.push(...(await livingChildren(deps, found[at]!)));
  return found.map(childListing).toSorted((a, b) => (pathOf(a) < pathOf(b) ? -1 : 1));
}

/** Headers of an image's clones, those apart that are being made or removed. */
export async function livingChildren(deps: NameDeps, header: Header, snapshotId?: number): Promise<Header[]> {
  const limit = pLimit(looksAtOnce);
  const read = await Promise.all(
    childrenOf(header, snapshotId).map((child) => limit(() => readHeader(deps, child.imageId))),
  );
  return read.flatMap((stored) =>
    stored?.value.parent?.imageId === header.imageId && stored.value.parent.unnamed !== true ? [stored.value] : [],
  );
}

const pathOf = ({ pool, pool_namespace, image }: ChildListing): string => [pool, pool_namespace, image].join('\0');

const childListing = ({ pool, namespace, name, imageId, trash }: Header): ChildListing => ({
  pool,
  pool_namespace: namespace,
  image: name,
  id: imageId,
  trash: trash !== undefined,
});
