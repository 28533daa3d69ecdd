// Owns upload documents: a run of an import writes one before its packs, so that the next run of the same import, after a
// death, finds the image id and asks for each pack before it sends it. Deleted when the content is visible.

import { z } from 'zod';
import { createDocument, readDocument, replaceDocument, type Stored } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import type { ImageDeps, ImageSpec } from '../deps.ts';
import { headerSchema } from '../header.ts';
import { parseImageId, type ImageId } from '../ids.ts';

/**
 * A copy of an image that is under way (copy.ts).
 * - `content`: what the copy will be, settled when it began. `fromOffset`: everything before it is in the copy's packs.
 */
const copySchema = z.object({
  source: z.string().regex(/^[0-9a-f]{24}$/),
  content: headerSchema.pick({
    root: true,
    sizeBytes: true,
    objectBytes: true,
    snapshots: true,
    meta: true,
    features: true,
    dataPool: true,
  }),
  fromOffset: z.int().min(0),
  restarts: z.int().min(0),
});
export type CopyState = z.infer<typeof copySchema>;

/** `update`: of an image that exists; its id is never that of a new image. */
const uploadSchema = z.object({
  imageId: z.string().regex(/^[0-9a-f]{24}$/),
  startedAtMs: z.number(),
  update: z.boolean().optional(),
  copy: copySchema.optional(),
});
export type Upload = z.infer<typeof uploadSchema>;

export type Begun = { imageId: ImageId; resumed: boolean; found?: Stored<Upload> };

/** Finds an earlier run's upload, or begins one. */
export async function beginUpload(
  deps: ImageDeps,
  spec: ImageSpec,
  { imageId, update }: { imageId: ImageId; update: boolean },
): Promise<Begun> {
  const key = uploadKey(spec);
  const upload: Upload = { imageId, startedAtMs: deps.clock.nowMs(), ...(update && { update }) };
  if (await createDocument(deps.bucket, key, upload, deps.random)) return { imageId, resumed: false };
  const found = await readUpload(deps, spec);
  return found ? { imageId: parseImageId(found.value.imageId), resumed: true, found } : { imageId, resumed: true };
}

export const readUpload = (deps: ImageDeps, spec: ImageSpec): Promise<Stored<Upload> | undefined> =>
  readDocument(deps.bucket, uploadKey(spec), uploadSchema);

/** Puts another image id into a found upload; false when somebody else was faster. */
export async function replaceUpload(deps: ImageDeps, found: Stored<Upload>, imageId: ImageId): Promise<boolean> {
  const upload: Upload = { imageId, startedAtMs: deps.clock.nowMs() };
  return (await replaceDocument(deps.bucket, found, upload, deps.random)) !== undefined;
}

/** Notes in a found upload how far a copy is; undefined when somebody else was faster. */
export const noteCopy = (
  deps: ImageDeps,
  found: Stored<Upload>,
  copy: CopyState,
): Promise<Stored<Upload> | undefined> => replaceDocument(deps.bucket, found, { ...found.value, copy }, deps.random);

export const endUpload = (deps: ImageDeps, spec: ImageSpec): Promise<void> => deps.bucket.delete([uploadKey(spec)]);

const uploadKey = ({ pool, namespace, image }: ImageSpec): string =>
  keyText({ kind: 'upload', pool, namespace, image });
