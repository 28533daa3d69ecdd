// Owns the deletion of a removed image's objects: bounded steps, the header last, so that an unfinished deletion can always
// be recognised and continued. Image ids are never used twice, so late and repeated steps harm nothing.

import { readDocument } from '../bucket/document.ts';
import { prefixes } from '../bucket/keys.ts';
import { unlinkFromParent } from './clones/children.ts';
import { headerSchema, type Header } from './header.ts';
import { freeName, headerKey, type NameDeps } from './names.ts';
import { dropEntry } from './trash.ts';

/** Objects listed, then deleted, at once: a page of a LIST and a batch of a DELETE. */
const pageObjectsMax = 1000;
/** Pages of one step: about 40 requests, 20,000 objects, 160 GB of packs. */
export const pagesPerStepMax = 20;

/** Deletes what one invocation may; `more` when another step is needed. Does nothing to an image that is not being removed. */
export async function removeStep(
  deps: NameDeps,
  imageId: string,
  pagesMax: number = pagesPerStepMax,
): Promise<'done' | 'more'> {
  const header = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
  if (!header || header.value.removing !== true) return 'done';
  for (let pageIndex = 0; pageIndex < pagesMax; pageIndex++) {
    if (await deletePage(deps, imageId)) return finish(deps, header.value.imageId, header.value);
  }
  return 'more';
}

/** True when nothing but the header is left. */
async function deletePage(deps: NameDeps, imageId: string): Promise<boolean> {
  const page = await deps.bucket.list({ prefix: prefixes.image(imageId), limit: pageObjectsMax });
  const keys = page.objects.map((object) => object.key).filter((key) => key !== headerKey(imageId));
  if (keys.length > 0) await deps.bucket.delete(keys);
  return !page.more;
}

async function finish(deps: NameDeps, imageId: string, header: Header): Promise<'done'> {
  await unlinkFromParent(deps, header);
  await freeName(deps, { pool: header.pool, namespace: header.namespace, image: header.name }, imageId);
  if (header.trash) await dropEntry(deps, header, header.trash);
  // Header last: while it is there, the rest can be found.
  await deps.bucket.delete([headerKey(imageId)]);
  return 'done';
}
