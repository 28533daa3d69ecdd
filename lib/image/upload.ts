// Owns upload documents: a run of an import writes one before its packs, so that the next run of the same import, after a
// death, finds the image id and asks for each pack before it sends it. Deleted when the content is visible.

import { z } from 'zod';
import { createDocument, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import { keyText } from '../bucket/keys.ts';
import type { ImageDeps, ImageSpec } from './deps.ts';
import { parseImageId, type ImageId } from './ids.ts';

/** `update`: of an image that exists; its id is never that of a new image. */
const uploadSchema = z.object({
  imageId: z.string().regex(/^[0-9a-f]{24}$/),
  startedAtMs: z.number(),
  update: z.boolean().optional(),
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

export const endUpload = (deps: ImageDeps, spec: ImageSpec): Promise<void> => deps.bucket.delete([uploadKey(spec)]);

const uploadKey = ({ pool, namespace, image }: ImageSpec): string =>
  keyText({ kind: 'upload', pool, namespace, image });
