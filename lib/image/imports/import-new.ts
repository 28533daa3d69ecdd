// Owns the birth of an image that is imported: its packs are there before it has a header, and its header before it has a
// name. A run that died is found again through its upload document.
//
// Runs of one import share an image id, so its header is created once and never replaced by an import: whoever finds it there
// may finish what it says, but not change it. The upload document goes before the name is taken, so that nobody resumes with
// the id of an image that has been seen, which may be renamed or removed by then.
//
//   import A                                 import B (same name)
//   no header                                no header
//   uploads packs                            uploads packs (the same image id: equal packs are one object)
//   creates the header
//                                            creates the header: exists → EEXIST
//   ends the upload, takes the name
//
//   import A                                 import B, begun after A's header was there
//   creates the header, dies
//                                            finds it without a name: takes the name for it
//                                            the content is its own: done; another: EEXIST, and it does exist

import { createDocument, readDocument, type Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import { headerSchema, userSnapshots, type Header } from '../header.ts';
import { newImageId, type ImageId } from '../ids.ts';
import { checkNewImage, throwExists, type CreateOptions } from '../images.ts';
import { bearsName, claimName, headerKey, readName } from '../names.ts';
import { beginUpload, endUpload, readUpload, replaceUpload, type Upload } from './upload.ts';

/** `resumed`: packs of it may be there already. `unnamed`: an earlier run's header, which has no name yet. */
export type NewUpload = { imageId: ImageId; resumed: boolean; unnamed?: Header };

/** EEXIST: the name is taken. ENOENT, EDOM, EFBIG: as `createImage`. */
export async function beginNew(deps: ImageDeps, spec: ImageSpec, options: CreateOptions): Promise<NewUpload> {
  await checkNewImage(deps, spec, options);
  const taken = await readName(deps, spec);
  if (taken !== undefined && (await bearer(deps, spec, taken))) throwExists(spec);
  const begun = await beginUpload(deps, spec, { imageId: newImageId(deps.random), update: false });
  if (!begun.found) return begun;
  const stored = await readDocument(deps.bucket, headerKey(begun.imageId), headerSchema);
  if (!begun.found.value.update && !stored) return begun;
  if (stored && isUnnamed(stored.value, begun.found.value, spec, taken)) return { ...begun, unnamed: stored.value };
  return await beginAnew(deps, begun.found);
}

/** Makes the image visible: `header` is its first. EEXIST: another image has the name now, and nothing else changed. */
export async function publishNew(
  deps: ImageDeps,
  spec: ImageSpec,
  { imageId, unnamed }: NewUpload,
  header: Header,
): Promise<void> {
  if (!unnamed && !(await createOnce(deps, spec, header))) throwExists(spec);
  await endUpload(deps, spec);
  // A header whose name is another's stays: a run that found it may yet take the name.
  if ((await claimName(deps, spec, imageId)) === 'taken') throwExists(spec);
  if (unnamed && !(sameImage(unnamed, header) && (await bearer(deps, spec, imageId)))) throwExists(spec);
  await deps.born?.(header);
}

/** An image that lives, under another name perhaps, or is being removed is not ours to touch. */
const isUnnamed = (header: Header, upload: Upload, { image }: ImageSpec, taken: ImageId | undefined): boolean =>
  header.imageId !== taken &&
  header.name === image &&
  header.removing !== true &&
  header.trash === undefined &&
  header.mirror === undefined &&
  (header.snapshots.length === 0 || upload.update !== true);

async function beginAnew(deps: ImageDeps, found: Stored<Upload>): Promise<NewUpload> {
  const imageId = newImageId(deps.random);
  if (await replaceUpload(deps, found, imageId)) return { imageId, resumed: false };
  throw new FarsideError(
    'EAGAIN',
    'another import of the same name began at the same time; run the same command again',
    { retry: 'later' },
  );
}

async function bearer(deps: ImageDeps, spec: ImageSpec, imageId: ImageId): Promise<boolean> {
  const stored = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
  return stored !== undefined && bearsName(stored.value, spec);
}

/** False when another run of the same import came first. */
async function createOnce(deps: ImageDeps, spec: ImageSpec, header: Header): Promise<boolean> {
  const upload = await readUpload(deps, spec);
  if (upload?.value.imageId !== header.imageId) return false;
  return (await createDocument(deps.bucket, headerKey(header.imageId), header, deps.random)) !== undefined;
}

/** Whether both say the same of all that an import decides. */
const sameImage = (a: Header, b: Header): boolean => importedText(a) === importedText(b);

const importedText = (header: Header): string =>
  JSON.stringify([
    header.objectBytes,
    header.features,
    Object.entries(header.meta).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ...[header, ...userSnapshots(header)].map(({ name, root, sizeBytes }) => [name, root?.hash, sizeBytes]),
    ...userSnapshots(header).map((snapshot) => snapshot.protected),
  ]);
