// Owns `flatten`: everything that a clone's head and snapshots reach is copied into the clone's own packs, under the same ids,
// and then one swap drops the link to the parent. Roots stay what they are, so nothing that is read or compared by them notices.
//
// A step copies a bounded part, in order of image offset, and notes in the header how far it got: any step may be repeated, late
// or lost, and whoever comes next goes on. Writes meanwhile do no harm: what a new root adds to the map is in the clone's own
// packs, and the rest was reachable before, at the same offset. A collection may take copies that nothing reached when it
// marked, so a flatten that sees another `collectGeneration` than it began with begins again; what is there is not copied twice.

import type { Stored } from '../../bucket/document.ts';
import { FarsideError } from '../../errors.ts';
import { assertWritable, openHeader, readHeader, updateHeader, type HeaderTarget } from '../access.ts';
import { unlinkFromParent } from './children.ts';
import { collectStep } from '../collect/collect.ts';
import { copyLimitsDefault, copyPacks, type CopyLimits } from './copy-packs.ts';
import type { ImageDeps } from '../deps.ts';
import { reachableRoots, type Header, type Parent } from '../header.ts';

/** `fromOffset`: everything before it is copied. Done: the image has no parent any more. */
export type Flattened = { done: boolean; fromOffset: number; sizeBytes: number };

export type FlattenOptions = {
  /** On a replica whose primary was flattened. */
  byMirroring?: boolean;
  limits?: CopyLimits;
};

/** One bounded step. EINVAL: the image has no parent. EROFS: it is non-primary. */
export async function flattenStep(
  deps: ImageDeps,
  target: HeaderTarget,
  { byMirroring = false, limits = copyLimitsDefault }: FlattenOptions = {},
): Promise<Flattened> {
  const stored = await undisturbed(deps, target);
  const header = stored.value;
  if (!byMirroring) assertWritable(header, { inTrash: true }); // one that is found there was named by its id
  const { parent, collectGeneration, sizeBytes } = header;
  if (!parent) throw new FarsideError('EINVAL', 'image has no parent');
  const begun = parent.flatten?.generation === collectGeneration ? parent.flatten.fromOffset : 0;
  const next = await copyPacks(deps, { image: header, roots: reachableRoots(header), fromOffset: begun, limits });
  const now = await note(deps, stored, next);
  if (now.parent) return { done: false, fromOffset: now.parent.flatten?.fromOffset ?? 0, sizeBytes };
  await unlinkFromParent(deps, header);
  return { done: true, fromOffset: sizeBytes, sizeBytes };
}

/** A collection that is sweeping is brought to its end first. */
async function undisturbed(deps: ImageDeps, target: HeaderTarget): Promise<Stored<Header>> {
  const stored = await resolved(deps, target);
  const { imageId, collect } = stored.value;
  if (!collect) return stored;
  await collectStep(deps, { imageId, run: collect.run, step: collect.step });
  return resolved(deps, imageId);
}

async function resolved(deps: ImageDeps, target: HeaderTarget): Promise<Stored<Header>> {
  if (typeof target !== 'string') return 'etag' in target ? target : openHeader(deps, target);
  const stored = await readHeader(deps, target);
  if (!stored) throw new FarsideError('ENOENT', `error opening image ${target}`);
  return stored;
}

/** Notes how far the copy is, or drops the link. A step that others overtook, or a collection, changes nothing. */
async function note(deps: ImageDeps, stored: Stored<Header>, next: number | null): Promise<Header> {
  const began = stored.value;
  const change = (header: Header): Header | undefined => {
    const isCurrent = header.collect === undefined && header.collectGeneration === began.collectGeneration;
    if (!header.parent || header.parent.imageId !== began.parent!.imageId || !isCurrent) return undefined;
    // A copy under way may count on what the parent holds.
    if (next === null && header.mirror?.sync === undefined) return withoutParent(header);
    return next === null
      ? undefined
      : { ...header, parent: withProgress(header.parent, next, header.collectGeneration) };
  };
  return (await updateHeader(deps, stored, change, { byMirroring: true })).value;
}

function withoutParent(header: Header): Header {
  const { parent: _, ...rest } = header;
  return rest;
}

function withProgress(parent: Parent, fromOffset: number, generation: number): Parent {
  const { flatten } = parent;
  const isFurther = flatten?.generation === generation && flatten.fromOffset > fromOffset;
  return { ...parent, flatten: { ...flatten, generation, fromOffset: isFurther ? flatten.fromOffset : fromOffset } };
}
