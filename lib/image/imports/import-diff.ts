// Owns bringing a difference into an image in one atomic step: content, size and the snapshot at its end appear together, by
// one swap of the header, or not at all.

import { assertWritable, openHeader } from '../access.ts';
import { assertNotAttached } from '../journal/attachment.ts';
import type { Compression } from '../format/codec.ts';
import { commitRoot } from '../commit.ts';
import { readLevels } from '../config.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import type { Header } from '../header.ts';
import { parseImageId } from '../ids.ts';
import { compressionDefault } from '../options.ts';
import { Patch } from '../map/patch.ts';
import type { NewSnapshot } from '../snapshots.ts';
import { beginUpload, endUpload } from './upload.ts';

export type DiffImport = {
  /** The image as it is found. */
  readonly header: Header;
  /** Begins to take what differs. */
  begin(): Promise<Patch>;
  /** Makes it visible. EEXIST: a snapshot of that name came meanwhile. EROFS, ESTALE, EAGAIN: as `commitRoot`. Nothing has changed then. */
  finish(patch: Patch, sizeBytes: number, snapshot: NewSnapshot | undefined): Promise<void>;
};

/** ENOENT: no such pool or image. EROFS: the image is non-primary. EBUSY: it is in use. */
export async function startDiffImport(
  deps: ImageDeps,
  spec: ImageSpec,
  options: { compression?: Compression | undefined },
): Promise<DiffImport> {
  const base = await openHeader(deps, spec);
  const header = base.value;
  assertWritable(header);
  assertNotAttached(header);
  const compression = options.compression ?? compressionDefault(await readLevels(deps, spec.pool, header.meta));
  return {
    header,
    begin: async () => {
      const imageId = parseImageId(header.imageId);
      const { resumed } = await beginUpload(deps, spec, { imageId, update: true });
      return new Patch(deps, header, { compression, resume: resumed });
    },
    finish: async (patch, sizeBytes, snapshot) => {
      const patched = await patch.finish(sizeBytes);
      await commitRoot(deps, base, { ...patched, sizeBytes, snapshot });
      await endUpload(deps, spec);
    },
  };
}
