// Owns `flatten`: everything that a clone's head and snapshots reach is copied into the clone's own packs, under the same ids,
// and then one swap drops the link to the parent. Roots stay what they are, so nothing that is read or compared by them notices.
//
// A step copies a bounded part, in order of image offset, and notes in the header how far it got: any step may be repeated, late
// or lost, and whoever comes next goes on. Writes meanwhile do no harm: what a new root adds to the map is in the clone's own
// packs, and the rest was reachable before, at the same offset. A collection may take copies that nothing reached when it
// marked, so a flatten that sees another `collectGeneration` than it began with begins again; what is there is not copied twice.

import type { Stored } from '../bucket/document.ts';
import { FarsideError } from '../errors.ts';
import { assertWritable, openHeader, readHeader, updateHeader, type HeaderTarget } from './access.ts';
import { unlinkFromParent } from './children.ts';
import { collectStep } from './collect.ts';
import type { ImageDeps } from './deps.ts';
import { walk } from './diff.ts';
import { reachableRoots, type Header, type Parent } from './header.ts';
import { openStore, type Pack, type PackStore } from './pack-store.ts';
import { storeCopy } from './store-copy.ts';

export type FlattenLimits = {
  /** A step ends when it has copied so much, or walked so many map nodes. */
  copyBytesMax: number;
  nodesMax: number;
  /** Image data looked at in one go: what is to be copied of it is noted in memory. */
  windowBytes: number;
};

const mebibyte = 1024 * 1024;
export const flattenLimitsDefault: FlattenLimits = {
  copyBytesMax: 64 * mebibyte,
  nodesMax: 4096,
  windowBytes: 64 * mebibyte,
};

/** `fromOffset`: everything before it is copied. Done: the image has no parent any more. */
export type Flattened = { done: boolean; fromOffset: number; sizeBytes: number };

export type FlattenOptions = {
  /** On a replica whose primary was flattened. */
  byMirroring?: boolean;
  limits?: FlattenLimits;
};

/** One bounded step. EINVAL: the image has no parent. EROFS: it is non-primary. */
export async function flattenStep(
  deps: ImageDeps,
  target: HeaderTarget,
  { byMirroring = false, limits = flattenLimitsDefault }: FlattenOptions = {},
): Promise<Flattened> {
  const stored = await undisturbed(deps, target);
  const header = stored.value;
  if (!byMirroring) assertWritable(header);
  const { parent, collectGeneration, sizeBytes } = header;
  if (!parent) throw new FarsideError('EINVAL', 'image has no parent');
  const begun = parent.flatten?.generation === collectGeneration ? parent.flatten.fromOffset : 0;
  const next = await copyFrom(deps, header, begun, limits);
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

/** Where the next step begins; null: everything is copied. */
async function copyFrom(
  deps: ImageDeps,
  header: Header,
  fromOffset: number,
  { copyBytesMax, nodesMax, windowBytes }: FlattenLimits,
): Promise<number | null> {
  const store = openStore(deps, header);
  const wanted = reachableRoots(header);
  const windowNodes = Math.max(1, Math.floor(windowBytes / header.objectBytes));
  let at = fromOffset;
  for (let nodes = 0, bytes = 0; nodes < nodesMax && bytes < copyBytesMax;) {
    const packs = new Map<string, { pack: Pack; entries: Set<number> }>();
    const onEntry = (pack: Pack, entryIndex: number): void => {
      const noted = packs.get(pack.packId) ?? { pack, entries: new Set() };
      packs.set(pack.packId, noted);
      noted.entries.add(entryIndex);
    };
    const { objectBytes } = header;
    const walked = await walk({ store, objectBytes, wanted, held: [], fromOffset: at, nodesMax: windowNodes, onEntry });
    for (const { pack, entries } of packs.values()) bytes += await copyPack(deps, header, store, pack, entries);
    if (walked.next === null) return null;
    nodes += walked.nodes;
    at = walked.next;
  }
  return at;
}

/** Bytes copied: those of the entries that the image's own copy lacks. */
async function copyPack(
  deps: ImageDeps,
  { imageId }: Header,
  store: PackStore,
  pack: Pack,
  entries: ReadonlySet<number>,
): Promise<number> {
  const own = await store.ownIndex(pack);
  const lacking = [...entries].filter((entryIndex) => own?.isPresent(entryIndex) !== true);
  if (lacking.length === 0) return 0;
  const copy = await store.copyOf(pack, lacking);
  await storeCopy(deps, imageId, pack.packId, copy);
  store.forget(pack);
  return copy.length;
}
