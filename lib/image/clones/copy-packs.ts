// Owns copying what some roots reach into an image's own packs, under the same ids, from the packs of others that it may read. Roots
// stay what they are. In order of image offset, in bounded steps: any may be repeated. What is there is not copied twice.
//
// Memory: two packs with their copies, and the numbers of the entries of one window.

import pLimit from 'p-limit';
import type { ImageDeps } from '../deps.ts';
import { walk } from '../map/diff.ts';
import type { Root } from '../header.ts';
import { openStore, type Pack, type PackStore, type StoredImage } from '../packs/pack-store.ts';
import { storeCopy } from '../packs/store-copy.ts';

export type CopyLimits = {
  /** A step ends when it has copied so much, or walked so many map nodes. */
  copyBytesMax: number;
  nodesMax: number;
  /** Image data looked at in one go: what is to be copied of it is noted in memory. */
  windowBytes: number;
};

const mebibyte = 1024 * 1024;
export const copyLimitsDefault: CopyLimits = {
  copyBytesMax: 64 * mebibyte,
  nodesMax: 4096,
  windowBytes: 64 * mebibyte,
};

const packsAtOnce = 2;

/** `image`: whose packs are filled; where else it may read is in its `parent`. */
export type PackCopy = {
  image: StoredImage;
  roots: readonly (Root | null)[];
  fromOffset: number;
  limits: CopyLimits;
};

/** Where the next step begins; null: everything is copied. EBADMSG: something of it is nowhere, or damaged. */
export async function copyPacks(
  deps: ImageDeps,
  { image, roots, fromOffset, limits }: PackCopy,
): Promise<number | null> {
  const { copyBytesMax, nodesMax, windowBytes } = limits;
  const { objectBytes } = image;
  const store = openStore(deps, image);
  const windowNodes = Math.max(1, Math.floor(windowBytes / objectBytes));
  const limit = pLimit(packsAtOnce);
  let at = fromOffset;
  for (let nodes = 0, bytes = 0; nodes < nodesMax && bytes < copyBytesMax;) {
    const packs = new Map<string, { pack: Pack; entries: Set<number> }>();
    const onEntry = (pack: Pack, entryIndex: number): void => {
      const noted = packs.get(pack.packId) ?? { pack, entries: new Set() };
      packs.set(pack.packId, noted);
      noted.entries.add(entryIndex);
    };
    const step = { store, objectBytes, wanted: roots, held: [], fromOffset: at, nodesMax: windowNodes, onEntry };
    const walked = await walk(step);
    const copied = [...packs.values()].map(({ pack, entries }) =>
      limit(() => copyPack(deps, image, store, pack, entries)),
    );
    for (const copiedBytes of await Promise.all(copied)) bytes += copiedBytes;
    if (walked.next === null) return null;
    nodes += walked.nodes;
    at = walked.next;
  }
  return at;
}

/** Bytes copied: those of the entries that the image's own copy lacks. */
async function copyPack(
  deps: ImageDeps,
  { imageId }: StoredImage,
  store: PackStore,
  pack: Pack,
  entries: ReadonlySet<number>,
): Promise<number> {
  const isOwn = await store.ownEntries(pack);
  const lacking = [...entries].filter((entryIndex) => !isOwn(entryIndex));
  if (lacking.length === 0) return 0;
  const copy = await store.copyOf(pack, lacking);
  await storeCopy(deps, imageId, pack.packId, copy);
  store.forget(pack);
  return copy.length;
}
