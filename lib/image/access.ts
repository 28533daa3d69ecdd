// Owns the way to an image's header: from a spec to the document, and the one door through which headers change. Invariant
// I8: a non-primary image is changed by mirroring only.

import { backOff, raceBackoff } from '../bucket/backoff.ts';
import { racesMax, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import { assert, FarsideError } from '../errors.ts';
import type { ImageSpec } from './deps.ts';
import { headerSchema, mirrorSnapshots, type Header } from './header.ts';
import { isImageId, parseImageId, type ImageId } from './ids.ts';
import { keepParents } from './clones/lineage.ts';
import { assertPlace, bearsName, checkSpec, headerKey, readName, specText, type NameDeps } from './names.ts';

/**
 * Whether only mirroring may write the image: RBD's NON_PRIMARY feature is set, the newest mirror snapshot is not a primary
 * one (a replica, a demoted image), or the replica is still being made.
 */
export function isNonPrimary(header: Header): boolean {
  if (header.features.includes('non-primary')) return true;
  if (!header.mirror) return false;
  const newest = mirrorSnapshots(header).at(-1);
  return header.mirror.state === 'creating' || (newest !== undefined && newest.namespace.state !== 'primary');
}

/** Throws EROFS on a non-primary image, ENOENT on one in the trash, unless that was asked for. */
export function assertWritable(header: Header, { inTrash = false }: { inTrash?: boolean } = {}): void {
  if (header.trash && !inTrash) throw new FarsideError('ENOENT', `image ${header.name} is in the trash`);
  if (isNonPrimary(header)) {
    throw new FarsideError('EROFS', `image ${header.name} is non-primary: it is read-only until it is promoted`);
  }
}

/** What to change: an image by spec, by id, or a header just read (whose first attempt then costs no read). */
export type HeaderTarget = ImageSpec | string | Stored<Header>;

/** One read of the name and one of the header. ENOENT when the pool or the image does not exist. `spec.snap` is not looked at. */
export async function openHeader(deps: NameDeps, spec: ImageSpec): Promise<Stored<Header>> {
  checkSpec(spec);
  const imageId = spec.byId === true ? idOf(spec) : await readName(deps, spec);
  const stored = imageId && (await readDocument(deps.bucket, headerKey(imageId), headerSchema));
  if (stored && answersTo(stored.value, spec)) return stored;
  throw await missing(deps, spec);
}

const idOf = ({ image }: ImageSpec): ImageId | undefined => (isImageId(image) ? image : undefined);

/** By its name; or by its id, in the trash too. */
const answersTo = (header: Header, spec: ImageSpec): boolean =>
  spec.byId === true
    ? header.removing !== true && header.pool === spec.pool && header.namespace === spec.namespace
    : bearsName(header, spec);

/** The header of a living image, or undefined when it is gone or being removed. One read. */
export async function readHeader(deps: NameDeps, imageId: string): Promise<Stored<Header> | undefined> {
  const stored = await readDocument(deps.bucket, headerKey(parseImageId(imageId)), headerSchema);
  return stored && stored.value.removing !== true ? stored : undefined;
}

/** rbd tells a missing pool or namespace from a missing image; only a failure pays for the difference. */
async function missing(deps: NameDeps, spec: ImageSpec): Promise<FarsideError> {
  await assertPlace(deps, spec.pool, spec.namespace);
  return new FarsideError('ENOENT', `error opening image ${spec.image}`);
}

export type UpdateOptions = {
  /** Mirroring's own writes: allowed on a non-primary image, and `modifiedAtMs` is left as it is. */
  byMirroring?: boolean;
  /** Of an image in the trash too. */
  inTrash?: boolean;
};

/**
 * The one door for header changes (snapshots that clones need stay: lineage.ts): read, change, compare-and-swap, and again after a lost race. `change` is pure and may
 * throw; it returns undefined for "nothing to do". ENOENT: no such image. EROFS: non-primary (I8).
 */
export async function updateHeader(
  deps: NameDeps,
  target: HeaderTarget,
  change: (header: Header) => Header | undefined,
  options: UpdateOptions = {},
): Promise<Stored<Header>> {
  let stored = await resolveTarget(deps, target);
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    const value = changedHeader(deps, stored.value, change, options);
    if (value === undefined) return stored;
    const replaced = await replaceHeader(deps, stored, value);
    if (replaced) return replaced;
    await backOff(raceBackoff, lostCount, deps);
    stored = await reread(deps, stored.value.imageId, target);
  }
  throw new FarsideError('EAGAIN', `image ${stored.value.name} is changed by others too often; try again`, {
    retry: 'later',
  });
}

/** A primary whose replicas follow its journal: whatever changes in its header is a point for them. */
const takesPoints = (header: Header): boolean =>
  header.mirror?.mode === 'journal' && header.mirror.state === 'enabled' && !isNonPrimary(header);

/**
 * The compare-and-swap of a header, by users and mirroring alike: a change that the replicas must see at its place in the order of
 * writes becomes a point in the same swap. Undefined: the header has changed since it was read.
 */
export async function replaceHeader(
  deps: NameDeps,
  stored: Stored<Header>,
  next: Header,
): Promise<Stored<Header> | undefined> {
  if (!takesPoints(stored.value) || !takesPoints(next))
    return await replaceDocument(deps.bucket, stored, next, deps.random);
  assert(deps.points, 'whoever changes an image that is mirrored by its journal is handed the way to take points');
  const value = await deps.points.withPoint(stored.value, next);
  const replaced = await replaceDocument(deps.bucket, stored, value, deps.random);
  if (replaced && value !== next) await deps.points.announce(replaced.value);
  return replaced;
}

function changedHeader(
  deps: NameDeps,
  header: Header,
  change: (header: Header) => Header | undefined,
  options: UpdateOptions,
): Header | undefined {
  if (options.byMirroring !== true) assertWritable(header, options);
  const changed = change(header);
  if (!changed) return undefined;
  const kept = keepParents(header, changed);
  return options.byMirroring === true ? kept : { ...kept, modifiedAtMs: deps.clock.nowMs() };
}

async function resolveTarget(deps: NameDeps, target: HeaderTarget): Promise<Stored<Header>> {
  if (typeof target === 'string') return reread(deps, target, target);
  return 'etag' in target ? target : openHeader(deps, target);
}

/** After a lost race; a spec must still name the image. */
async function reread(deps: NameDeps, imageId: string, target: HeaderTarget): Promise<Stored<Header>> {
  const stored = await readHeader(deps, imageId);
  const isSpec = typeof target !== 'string' && !('etag' in target);
  if (stored && (!isSpec || answersTo(stored.value, target))) return stored;
  const what = isSpec ? specText(target) : imageId;
  throw new FarsideError('ENOENT', `error opening image ${isSpec ? target.image : what}`);
}
