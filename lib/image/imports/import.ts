// Owns bringing outside content into an image in one atomic step: `import` makes a new image, `import --update` changes an
// existing one to the content given. Until `finish` nothing is visible; after it everything is. A run that died is found
// again: the next run of the same import uploads only what is missing (import-new.ts, upload.ts).

import { assertWritable, openHeader } from '../access.ts';
import { assertNotAttached } from '../journal/attachment.ts';
import type { Compression } from '../format/codec.ts';
import { commitRoot } from '../commit.ts';
import { compareBlocks } from '../map/compare.ts';
import { readLevels } from '../config.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import { parseImageId, type ImageId } from '../ids.ts';
import { newHeader } from '../images.ts';
import { beginNew, publishNew } from './import-new.ts';
import { sectorBytes } from '../format/node.ts';
import { compressionDefault, creationOf, type AskedCreation } from '../options.ts';
import type { UploadStats } from '../packs/pack-writer.ts';
import { beginUpload, endUpload } from './upload.ts';
import { ImageWriter } from '../map/write.ts';

/** Of a new image, otherwise options of the pool decide: object size, features, data pool. */
export type ImportOptions = AskedCreation & {
  /** Bring an existing image to the content given, instead of making a new one. */
  update: boolean;
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

/** EEXIST: a new image's name is taken. ENOENT: no pool, or no image to update. EROFS: the image is non-primary. EBUSY: it is in use. */
export async function startImport(deps: ImageDeps, spec: ImageSpec, options: ImportOptions): Promise<Import> {
  return options.update ? await startUpdate(deps, spec, options) : await startNew(deps, spec, options);
}

async function startNew(deps: ImageDeps, spec: ImageSpec, options: ImportOptions): Promise<Import> {
  const levels = await readLevels(deps, spec.pool);
  const creation = creationOf(options, spec.pool, levels);
  const { objectBytes } = creation;
  const compression = options.compression ?? compressionDefault(levels);
  const begun = await beginNew(deps, spec, { sizeBytes: 0, ...creation });
  const { imageId, resumed } = begun;
  const target = { image: { imageId, pool: spec.pool, name: spec.image, objectBytes }, root: null };
  const writer = new ImageWriter(deps, target, { compression, resume: resumed });
  return {
    chunkBytes: objectBytes,
    write: (offset, data) => writer.write(offset, padded(data)),
    finish: async (sizeBytes) => {
      const root = await writer.finish();
      await publishNew(
        deps,
        spec,
        begun,
        newHeader(deps, spec, imageId, { sizeBytes, ...creation, initial: { root } }),
      );
      return { imageId, uploaded: writer.stats };
    },
  };
}

async function startUpdate(deps: ImageDeps, spec: ImageSpec, options: ImportOptions): Promise<Import> {
  const base = await openHeader(deps, spec);
  assertWritable(base.value);
  assertNotAttached(base.value);
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

/** The same bytes with zeros up to the end of the last sector. */
function padded(data: Uint8Array): Uint8Array {
  const rest = data.length % sectorBytes;
  if (rest === 0) return data;
  const whole = new Uint8Array(data.length + sectorBytes - rest);
  whole.set(data);
  return whole;
}
