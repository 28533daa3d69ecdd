// Owns finding which ranges of an image differ between two of its roots, in order of offset and from the maps alone: equal
// references are skipped, so the cost is what differs. What was written again with equal content may count as changed.
//
// A range lies within one object, as in rbd.

import type { Root } from '../header.ts';
import { childRef, childrenAt, leavesAt, rootRef, type NodeRef } from './map.ts';
import { sectorBytes, type Extent } from '../format/node.ts';
import type { Pack, PackStore } from '../packs/pack-store.ts';

/** `exists`: there is data now; else it reads as zeros, and there was data before. */
export type ChangedRange = { offset: number; length: number; exists: boolean };

export type ChangesOptions = {
  store: PackStore;
  objectBytes: number;
  /** Null: an image without data. */
  from: Root | null;
  to: Root | null;
  /** Where the image ends now. */
  sizeBytes: number;
  /** Whole objects instead of the ranges within. */
  wholeObject: boolean;
};

export async function* changedRanges(options: ChangesOptions): AsyncGenerator<ChangedRange> {
  const { store, objectBytes, sizeBytes, wholeObject } = options;
  const from = options.from ? rootRef(options.from) : undefined;
  const to = options.to ? rootRef(options.to) : undefined;
  const level = Math.max(from?.level ?? 0, to?.level ?? 0);
  const leafMax = Math.ceil(sizeBytes / objectBytes);
  for await (const { leaf, before, now } of changedLeaves(store, { level, firstLeaf: 0, leafMax }, from, to)) {
    const start = leaf * objectBytes;
    const bytes = Math.min(objectBytes, sizeBytes - start);
    const ranges = wholeObject ? wholeLeaf(bytes, before, now) : leafRanges(bytes, before, now);
    for (const range of ranges) yield { ...range, offset: start + range.offset };
  }
}

type Extents = readonly Extent<Pack>[];
type ChangedLeaf = { leaf: number; before: Extents; now: Extents };
type Place = { level: number; firstLeaf: number; leafMax: number };

const isSame = (a: NodeRef | undefined, b: NodeRef | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.entry === b.entry && a.pack.packId === b.pack.packId);

async function* changedLeaves(
  store: PackStore,
  { level, firstLeaf, leafMax }: Place,
  from: NodeRef | undefined,
  to: NodeRef | undefined,
): AsyncGenerator<ChangedLeaf> {
  if (isSame(from, to)) return;
  if (level === 0) {
    yield { leaf: firstLeaf, before: await extentsOf(store, from), now: await extentsOf(store, to) };
    return;
  }
  const before = await bySlot(store, from, level);
  const now = await bySlot(store, to, level);
  for (const slot of [...new Set([...before.keys(), ...now.keys()])].toSorted((a, b) => a - b)) {
    const start = firstLeaf + slot * leavesAt(level - 1);
    if (start >= leafMax) return;
    yield* changedLeaves(store, { level: level - 1, firstLeaf: start, leafMax }, before.get(slot), now.get(slot));
  }
}

async function bySlot(store: PackStore, ref: NodeRef | undefined, level: number): Promise<Map<number, NodeRef>> {
  if (!ref) return new Map();
  const children = await childrenAt(store, ref, level);
  return new Map(children.map((child) => [child.slot, childRef(child, ref, level)]));
}

const extentsOf = async (store: PackStore, ref: NodeRef | undefined): Promise<Extents> =>
  ref ? (await store.node(ref.pack, ref.entry, ref.level)).extents : [];

/** The whole object, if anything in it differs. */
function* wholeLeaf(bytes: number, before: Extents, now: Extents): Generator<ChangedRange> {
  for (const _ of leafRanges(bytes, before, now)) {
    yield { offset: 0, length: bytes, exists: now.length > 0 };
    return;
  }
}

/** From the start of the object, of which the image has so many bytes; neighbours of one kind are one range. */
function* leafRanges(bytes: number, before: Extents, now: Extents): Generator<ChangedRange> {
  let range: ChangedRange | undefined;
  for (const { sector, sectors, exists } of changedSegments(before, now)) {
    const offset = sector * sectorBytes;
    const length = Math.min(sectors * sectorBytes, bytes - offset);
    if (length <= 0) break;
    if (range && range.exists === exists && range.offset + range.length === offset) range.length += length;
    else {
      if (range) yield range;
      range = { offset, length, exists };
    }
  }
  if (range) yield range;
}

type Segment = { sector: number; sectors: number; exists: boolean };

/** Cuts both lists at all their boundaries and compares piece by piece. */
function* changedSegments(before: Extents, now: Extents): Generator<Segment> {
  const boundaries = new Set([...before, ...now].flatMap(({ sector, sectors }) => [sector, sector + sectors]));
  const [beforeAt, nowAt] = [lookup(before), lookup(now)];
  let start: number | undefined;
  for (const end of [...boundaries].toSorted((a, b) => a - b)) {
    if (start !== undefined) {
      const [old, current] = [beforeAt(start), nowAt(start)];
      if (!sameData(start, old, current)) yield { sector: start, sectors: end - start, exists: current !== undefined };
    }
    start = end;
  }
}

/** Which extent holds a sector, for sectors asked for in ascending order. */
function lookup(extents: Extents): (sector: number) => Extent<Pack> | undefined {
  let next = 0;
  return (sector) => {
    while (next < extents.length && extents[next]!.sector + extents[next]!.sectors <= sector) next++;
    const extent = extents[next];
    return extent && extent.sector <= sector ? extent : undefined;
  };
}

function sameData(sector: number, a: Extent<Pack> | undefined, b: Extent<Pack> | undefined): boolean {
  if (!a || !b) return a === b;
  const skipped = (extent: Extent<Pack>): number => extent.skip + sector - extent.sector;
  return a.pack.packId === b.pack.packId && a.entry === b.entry && skipped(a) === skipped(b);
}
