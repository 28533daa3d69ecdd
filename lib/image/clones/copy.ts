// Owns `cp` and `deep cp`: a new image with the content of another (and its user snapshots), of which it is independent. The
// packs are copied within the bucket, under the same ids, so the roots are the source's: nothing is decompressed, cut or
// compressed again, and equal content stays provably equal. What a copy is was settled when it began; holes cost nothing.
//
// A step copies a bounded part and notes in the upload document how far it got (upload.ts): any step may be repeated, and a
// copy that died goes on when the same command is given again. Nothing is visible until the header and the name are there, as
// with an import (import-new.ts).
//
// Nothing holds the source still. What it lets go of meanwhile a collection may take away:
//
//   copy                                     source
//   settles its content: root R
//                                            is written: root S; a collection takes what only R reached
//   misses a pack; R is no root any more: settles its content anew, and copies what is not there yet
//
// Each step opens the source by its name, so that nobody copies through an upload document what he may not read.

import { FarsideError } from '../../errors.ts';
import type { Stored } from '../../bucket/document.ts';
import { openHeader, readHeader } from '../access.ts';
import { openHead } from '../journal/fold.ts';
import { copyLimitsDefault, copyPacks, type CopyLimits } from './copy-packs.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import { inheritedFeatures, newImageFeatures, sharedFeatures } from '../features.ts';
import { packSources, reachableRoots, readableRoots, sameRoot, userSnapshots } from '../header.ts';
import type { Header, Snapshot } from '../header.ts';
import { parseImageId, type ImageId } from '../ids.ts';
import { newHeader } from '../images.ts';
import { beginNew, publishNew } from '../imports/import-new.ts';
import { findUserSnapshot } from '../info.ts';
import { bearsName, readName } from '../names.ts';
import { noteCopy, readUpload, type CopyState, type Upload } from '../imports/upload.ts';

export type CopyOptions = {
  /** With the user snapshots; of a snapshot, with those up to it. */
  deep: boolean;
  /** The source's, unless given. */
  features?: readonly string[] | undefined;
  shared?: boolean | undefined;
  dataPool?: string | undefined;
  /** Must be the source's: another needs another map, and so a copy that reads and writes (lib/cli/transfer/copy.ts). */
  objectBytes?: number | undefined;
  /** Of the copy that earlier steps of this command began. */
  begun?: string | undefined;
  limits?: CopyLimits;
};

export type Copied = { done: boolean; imageId: string; fromOffset: number; sizeBytes: number };

/** A source that changes faster than it can be copied is given up. */
const restartsMax = 10;

/**
 * One bounded step; `source` may name a snapshot.
 * @throws ENOENT no such source, snapshot or pool; EEXIST the name is taken; EAGAIN another command copies to the same name, the
 *   source changes too fast, or has nothing to read yet; EBADMSG the source is damaged.
 */
export async function copyStep(
  deps: ImageDeps,
  source: ImageSpec,
  target: ImageSpec,
  options: CopyOptions,
): Promise<Copied> {
  const { value: from } = await openHead(deps, source);
  if (from.mirror?.state === 'creating') throw notYetCopied(source.image);
  checkObjectBytes(from, options.objectBytes);
  const begun = options.begun === undefined ? await begin(deps, from, source, target, options) : undefined;
  if (begun === 'done') return await finished(deps, target);
  const upload = begun ?? (await goOn(deps, from, target, options.begun!));
  if (upload === 'done') return await finished(deps, target);
  return await step(deps, { from, source, target, options, upload });
}

function checkObjectBytes({ objectBytes, name }: Header, asked = objectBytes): void {
  if (asked === objectBytes) return;
  throw new FarsideError(
    'EOPNOTSUPP',
    `a copy within the bucket has the object size of ${name}, ${objectBytes} bytes: export and import it for another`,
  );
}

const notYetCopied = (image: string): FarsideError =>
  new FarsideError('EAGAIN', `image ${image} is being copied here for the first time: there is nothing to read yet`, {
    retry: 'later',
  });

type CopyUpload = Stored<Upload & { copy: CopyState }>;
type Running = { from: Header; source: ImageSpec; target: ImageSpec; options: CopyOptions; upload: CopyUpload };

const isCopy = (upload: Stored<Upload> | undefined): upload is CopyUpload => upload?.value.copy !== undefined;

/** Begins a copy, or goes on with one that died. Done: an earlier run's was complete but for its name. */
async function begin(
  deps: ImageDeps,
  from: Header,
  source: ImageSpec,
  target: ImageSpec,
  options: CopyOptions,
): Promise<CopyUpload | 'done'> {
  const content = contentOf(from, source, options);
  const begun = await beginNew(deps, target, content);
  if (begun.unnamed) {
    await publishNew(deps, target, begun, copyHeader(deps, target, begun.imageId, content));
    return 'done';
  }
  const found = await readUpload(deps, target);
  if (found?.value.imageId !== begun.imageId) throw overtaken(target);
  const earlier = found.value.copy;
  const isSame = earlier !== undefined && earlier.source === from.imageId && sameContent(earlier.content, content);
  if (isSame && isCopy(found)) return found;
  return await noted(deps, found, { source: from.imageId, content, fromOffset: 0, restarts: 0 }, target);
}

async function noted(deps: ImageDeps, found: Stored<Upload>, copy: CopyState, target: ImageSpec): Promise<CopyUpload> {
  const upload = await noteCopy(deps, found, copy);
  if (!isCopy(upload)) throw overtaken(target);
  return upload;
}

/** What the copy will be. ENOENT: no such snapshot. */
function contentOf(from: Header, { snap }: ImageSpec, options: CopyOptions): CopyState['content'] {
  const end = snap === undefined ? undefined : findUserSnapshot(from, snap);
  const { root, sizeBytes } = end ?? from;
  const chosen = options.features ?? inheritedFeatures(from.features);
  const { dataPool } = options;
  return {
    root,
    sizeBytes,
    objectBytes: from.objectBytes,
    snapshots: options.deep
      ? userSnapshots(from)
          .filter(({ id }) => end === undefined || id <= end.id)
          .map(ownSnapshot)
      : [],
    meta: from.meta,
    features: newImageFeatures(options.shared === true ? sharedFeatures(chosen) : chosen, dataPool),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}

/** Ids begin anew, times stay. */
const ownSnapshot = (snapshot: Snapshot, index: number): Snapshot => ({
  ...snapshot,
  id: index + 1,
  namespace: { type: 'user' },
});

const sameContent = (a: CopyState['content'], b: CopyState['content']): boolean => text(a) === text(b);
const text = ({ meta, ...content }: CopyState['content']): string =>
  JSON.stringify([Object.entries(content).toSorted(byKey), Object.entries(meta).toSorted(byKey)]);
const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1);

/** The first header of the copy: made of the content alone, whatever else an upload document may hold. */
function copyHeader(deps: ImageDeps, target: ImageSpec, imageId: ImageId, content: CopyState['content']): Header {
  const { root, snapshots, meta, ...creation } = content;
  const users = snapshots.filter(({ namespace }) => namespace.type === 'user');
  const nextSnapshotId = Math.max(0, ...users.map(({ id }) => id)) + 1;
  return newHeader(deps, target, imageId, { ...creation, initial: { root, snapshots: users, nextSnapshotId, meta } });
}

/** The copy that earlier steps began. Done: another run of it was faster. */
async function goOn(deps: ImageDeps, from: Header, target: ImageSpec, begun: string): Promise<CopyUpload | 'done'> {
  const upload = await readUpload(deps, target);
  if (upload?.value.imageId === begun && isCopy(upload) && upload.value.copy.source === from.imageId) return upload;
  const name = await readName(deps, target);
  if (name === begun && (await bearer(deps, target, name))) return 'done';
  throw overtaken(target);
}

async function bearer(deps: ImageDeps, target: ImageSpec, imageId: ImageId): Promise<Header | undefined> {
  const stored = await readHeader(deps, imageId);
  return stored && bearsName(stored.value, target) ? stored.value : undefined;
}

const overtaken = ({ image }: ImageSpec): FarsideError =>
  new FarsideError('EAGAIN', `another command is making an image called ${image}: run the same command again`, {
    retry: 'later',
  });

async function finished(deps: ImageDeps, target: ImageSpec): Promise<Copied> {
  const { imageId, sizeBytes } = (await openHeader(deps, target)).value;
  return { done: true, imageId, fromOffset: sizeBytes, sizeBytes };
}

async function step(deps: ImageDeps, running: Running): Promise<Copied> {
  const { from, target, upload, options } = running;
  const { imageId, copy } = upload.value;
  const header = copyHeader(deps, target, parseImageId(imageId), copy.content);
  const { pool, name, objectBytes } = from;
  const image = { imageId, pool, name, objectBytes, parent: { packsIn: packSources(from) } };
  const { fromOffset } = copy;
  const limits = options.limits ?? copyLimitsDefault;
  let next: number | null;
  try {
    next = await copyPacks(deps, { image, roots: reachableRoots(header), fromOffset, limits });
  } catch (error) {
    return await startAgain(deps, running, header, error);
  }
  if (next !== null) return copied((await noted(deps, upload, { ...copy, fromOffset: next }, target)).value);
  await publishNew(deps, target, { imageId: parseImageId(imageId), resumed: true }, header);
  return { done: true, imageId, fromOffset: copy.content.sizeBytes, sizeBytes: copy.content.sizeBytes };
}

const copied = ({ imageId, copy }: CopyUpload['value']): Copied => ({
  done: false,
  imageId,
  fromOffset: copy.fromOffset,
  sizeBytes: copy.content.sizeBytes,
});

/** After something of the content was not there: the source may have let go of it. */
async function startAgain(
  deps: ImageDeps,
  { from, source, target, options, upload }: Running,
  header: Header,
  error: unknown,
): Promise<Copied> {
  if (!(error instanceof FarsideError) || error.code !== 'EBADMSG') throw error;
  const now = await readHeader(deps, from.imageId);
  if (!now) throw new FarsideError('ENOENT', `error opening image ${source.image}`);
  const held = readableRoots(now.value);
  if (reachableRoots(header).every((root) => held.some((one) => sameRoot(one, root)))) throw error;
  const restarts = upload.value.copy.restarts + 1;
  if (restarts > restartsMax)
    throw new FarsideError(
      'EAGAIN',
      `image ${source.image} changes faster than it can be copied: copy a snapshot of it`,
      {
        retry: 'later',
      },
    );
  const content = contentOf(now.value, source, options);
  return copied((await noted(deps, upload, { ...upload.value.copy, content, fromOffset: 0, restarts }, target)).value);
}
