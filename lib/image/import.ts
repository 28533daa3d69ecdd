// Owns bringing outside content into an image in one atomic step: `import` makes a new image, `import --update` changes an
// existing one to the content given. Until `finish` nothing is visible; after it everything is. A run that died is found
// again through its upload document: the next run of the same import uploads only what is missing.
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

import { z } from 'zod';
import { createDocument, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import { keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { assertWritable, openHeader } from './access.ts';
import { compareBlocks } from './compare.ts';
import type { Compression } from './codec.ts';
import { commitRoot } from './commit.ts';
import { readLevels } from './config.ts';
import type { ImageDeps, ImageSpec } from './deps.ts';
import { headerSchema, type Header } from './header.ts';
import { newImageId, parseImageId, type ImageId } from './ids.ts';
import { checkNewImage, newHeader, throwExists } from './images.ts';
import { bearsName, claimName, headerKey, readName } from './names.ts';
import { sectorBytes } from './node.ts';
import { compressionDefault, creationDefaults } from './options.ts';
import type { UploadStats } from './pack-writer.ts';
import { ImageWriter } from './write.ts';

/** `update`: of an image that exists; its id is never that of a new image. */
const uploadSchema = z.object({
  imageId: z.string().regex(/^[0-9a-f]{24}$/),
  startedAtMs: z.number(),
  update: z.boolean().optional(),
});
type Upload = z.infer<typeof uploadSchema>;

export type ImportOptions = {
  /** Bring an existing image to the content given, instead of making a new one. */
  update: boolean;
  /** Of a new image; otherwise options of the pool decide. */
  objectBytes?: number | undefined;
  compression?: Compression | undefined;
};

export type ImportResult = { imageId: ImageId; uploaded: UploadStats };

/** A running import. Writes may overlap and count in the order in which they were made; `finish` comes after the last has resolved. */
export interface Import {
  /** Bytes that `write` likes best: whole multiples, at multiples of it. */
  readonly chunkBytes: number;
  /**
   * Content at `offset`, ascending; skipped ranges are zeros. All but the last call end at a multiple of a sector (512 B).
   * `data` must not change before this resolves.
   */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Makes the content visible with this size. EEXIST, EROFS, ESTALE (changed meanwhile): nothing has changed then. */
  finish(sizeBytes: number): Promise<ImportResult>;
}

/** EEXIST: a new image's name is taken. ENOENT: no pool, or no image to update. EROFS: the image is non-primary. */
export async function startImport(deps: ImageDeps, spec: ImageSpec, options: ImportOptions): Promise<Import> {
  return options.update ? await startUpdate(deps, spec, options) : await startNew(deps, spec, options);
}

async function startNew(deps: ImageDeps, spec: ImageSpec, options: ImportOptions): Promise<Import> {
  const levels = await readLevels(deps, spec.pool);
  const objectBytes = options.objectBytes ?? creationDefaults(levels).objectBytes;
  const compression = options.compression ?? compressionDefault(levels);
  await checkNewImage(deps, spec, { sizeBytes: 0, objectBytes });
  const { imageId, resumed, unnamed } = await beginNew(deps, spec);
  const target = { image: { imageId, pool: spec.pool, name: spec.image, objectBytes }, root: null };
  const writer = new ImageWriter(deps, target, { compression, resume: resumed });
  return {
    chunkBytes: objectBytes,
    write: (offset, data) => writer.write(offset, padded(data)),
    finish: async (sizeBytes) => {
      const root = await writer.finish();
      const header = newHeader(deps, spec, imageId, { sizeBytes, objectBytes, initial: { root } });
      if (!unnamed && !(await createOnce(deps, spec, header))) throwExists(spec);
      await endUpload(deps, spec);
      // A header whose name is another's stays: a run that found it may yet take the name.
      if ((await claimName(deps, spec, imageId)) === 'taken') throwExists(spec);
      if (unnamed && !(sameImage(unnamed, header) && (await bearer(deps, spec, imageId)))) throwExists(spec);
      return { imageId, uploaded: writer.stats };
    },
  };
}

type NewUpload = { imageId: ImageId; resumed: boolean; unnamed?: Header };

/** EEXIST: the name is taken. `unnamed`: an earlier run's header, which has no name yet. */
async function beginNew(deps: ImageDeps, spec: ImageSpec): Promise<NewUpload> {
  const taken = await readName(deps, spec);
  if (taken !== undefined && (await bearer(deps, spec, taken))) throwExists(spec);
  const begun = await beginUpload(deps, spec, { imageId: newImageId(deps.random), update: false });
  if (!begun.found) return begun;
  const stored = await readDocument(deps.bucket, headerKey(begun.imageId), headerSchema);
  if (!begun.found.value.update && !stored) return begun;
  if (stored && isUnnamed(stored.value, spec, taken)) return { ...begun, unnamed: stored.value };
  return await beginAnew(deps, begun.found);
}

/** An image that lives, under another name perhaps, or is being removed is not ours to touch. */
const isUnnamed = (header: Header, { image }: ImageSpec, taken: ImageId | undefined): boolean =>
  header.imageId !== taken &&
  header.name === image &&
  header.removing !== true &&
  header.trash === undefined &&
  header.mirror === undefined &&
  header.snapshots.length === 0;

async function beginAnew(deps: ImageDeps, found: Stored<Upload>): Promise<NewUpload> {
  const imageId = newImageId(deps.random);
  const upload: Upload = { imageId, startedAtMs: deps.clock.nowMs() };
  if (await replaceDocument(deps.bucket, found, upload, deps.random)) return { imageId, resumed: false };
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
  const upload = await readDocument(deps.bucket, uploadKey(spec), uploadSchema);
  if (upload?.value.imageId !== header.imageId) return false;
  return (await createDocument(deps.bucket, headerKey(header.imageId), header, deps.random)) !== undefined;
}

const sameImage = (a: Header, b: Header): boolean =>
  a.root?.pack === b.root?.pack &&
  a.root?.entry === b.root?.entry &&
  a.sizeBytes === b.sizeBytes &&
  a.objectBytes === b.objectBytes;

async function startUpdate(deps: ImageDeps, spec: ImageSpec, options: ImportOptions): Promise<Import> {
  const base = await openHeader(deps, spec);
  assertWritable(base.value);
  const { objectBytes, root, meta } = base.value;
  const compression = options.compression ?? compressionDefault(await readLevels(deps, spec.pool, meta));
  const imageId = parseImageId(base.value.imageId);
  const { resumed } = await beginUpload(deps, spec, { imageId, update: true });
  const writer = new ImageWriter(deps, { image: base.value, root }, { compression, resume: resumed });
  let end = 0;
  const write = async (offset: number, data: Uint8Array): Promise<void> => {
    if (offset > end) await compareBlocks(writer, root, objectBytes, { offset: end, length: offset - end });
    await compareBlocks(writer, root, objectBytes, { offset, length: data.length, data });
    end = offset + data.length;
  };
  let last: Promise<void> = Promise.resolve();
  return {
    chunkBytes: objectBytes,
    write: (offset, data) => (last = last.then(() => write(offset, padded(data)))),
    finish: async (sizeBytes) => {
      const sizeSectorBytes = Math.ceil(sizeBytes / sectorBytes) * sectorBytes;
      if (end < sizeSectorBytes)
        await compareBlocks(writer, root, objectBytes, { offset: end, length: sizeSectorBytes - end });
      if (sizeBytes < base.value.sizeBytes) writer.truncate(sizeSectorBytes);
      const made = await writer.finish();
      await commitRoot(deps, base, { root: made, sizeBytes, written: writer.written });
      await endUpload(deps, spec);
      return { imageId, uploaded: writer.stats };
    },
  };
}

type Begun = { imageId: ImageId; resumed: boolean; found?: Stored<Upload> };

/** Finds an earlier run's upload, or begins one. */
async function beginUpload(
  deps: ImageDeps,
  spec: ImageSpec,
  { imageId, update }: { imageId: ImageId; update: boolean },
): Promise<Begun> {
  const key = uploadKey(spec);
  const upload: Upload = { imageId, startedAtMs: deps.clock.nowMs(), ...(update && { update }) };
  if (await createDocument(deps.bucket, key, upload, deps.random)) return { imageId, resumed: false };
  const found = await readDocument(deps.bucket, key, uploadSchema);
  return found ? { imageId: parseImageId(found.value.imageId), resumed: true, found } : { imageId, resumed: true };
}

const endUpload = (deps: ImageDeps, spec: ImageSpec): Promise<void> => deps.bucket.delete([uploadKey(spec)]);

const uploadKey = ({ pool, namespace, image }: ImageSpec): string =>
  keyText({ kind: 'upload', pool, namespace, image });

/** The same bytes with zeros up to the end of the last sector. */
function padded(data: Uint8Array): Uint8Array {
  const rest = data.length % sectorBytes;
  if (rest === 0) return data;
  const whole = new Uint8Array(data.length + sectorBytes - rest);
  whole.set(data);
  return whole;
}
