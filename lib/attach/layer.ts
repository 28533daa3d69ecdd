// Owns what lies over the map of an image in use: changes that are not in it yet, by place. Layers lie over one another: what is
// being written, what is on its way into the journal, what is in the journal and not folded. Pure.

import { cut, firstEndingAfter, overlay } from '../image/map/map.ts';
import { sectorBytes, type Extent } from '../image/format/node.ts';
import type { Pack } from '../image/packs/pack-store.ts';
import type { Segment } from '../image/journal/segment.ts';

/** Where the bytes of an extent are: in memory, in a stored block, or nowhere, for a hole. */
export type Source = { data: Uint8Array } | { pack: Pack } | 'hole';
type LayerExtent = Extent<Source>;

/** A part of a range: bytes in memory, a part of a stored block, or a hole. */
export type Covered = { offset: number; length: number; source: Source; entry: number; skipBytes: number };

/** Whole sectors that are to be put somewhere. */
export type Write = { offset: number; data: Uint8Array };

/** An extent, and what it refers to. */
const extentWeightBytes = 256;

export class Layer {
  readonly #objectBytes: number;
  readonly #leaves = new Map<number, LayerExtent[]>();
  /** Bytes in memory that were put here, also those that were overwritten since. */
  dataBytes = 0;
  #extentCount = 0;

  constructor(objectBytes: number) {
    this.#objectBytes = objectBytes;
  }

  /** About what it takes in memory: holes cost too, and small writes more than their bytes. */
  get weightBytes(): number {
    return this.dataBytes + this.#extentCount * extentWeightBytes;
  }

  /** `data` must not change any more. Whole sectors. */
  write(offset: number, data: Uint8Array): void {
    this.dataBytes += data.length;
    this.#split(offset, data.length, (at, length) =>
      this.#put(at, length, { data: data.subarray(at - offset, at - offset + length) }, 0),
    );
  }

  zero(offset: number, length: number): void {
    this.#split(offset, length, (at, bytes) => this.#put(at, bytes, 'hole', 0));
  }

  /** A stored block, which lies in one object as every block does. */
  refer(offset: number, length: number, pack: Pack, entry: number): void {
    this.#put(offset, length, { pack }, entry);
  }

  /** What a segment that is in the journal does. */
  lay({ pack, changes }: Pick<Segment, 'pack' | 'changes'>): void {
    for (const { offset, length, entry } of changes) {
      if (entry === undefined) this.zero(offset, length);
      else this.refer(offset, length, pack, entry);
    }
  }

  /** What this layer says of a range, ascending; gaps are what it says nothing of. */
  within(offset: number, length: number): Covered[] {
    const covered: Covered[] = [];
    this.#split(offset, length, (at, bytes, leaf) => {
      const base = leaf * this.#objectBytes;
      for (const extent of clipped(this.#leaves.get(leaf) ?? [], at - base, bytes)) covered.push(located(extent, base));
    });
    return covered;
  }

  /** Everything, ascending. */
  all(): Covered[] {
    const leaves = [...this.#leaves].toSorted(([a], [b]) => a - b);
    return leaves.flatMap(([leaf, extents]) => extents.map((extent) => located(extent, leaf * this.#objectBytes)));
  }

  #put(offset: number, length: number, source: Source, entry: number): void {
    const leaf = Math.floor(offset / this.#objectBytes);
    const sector = (offset - leaf * this.#objectBytes) / sectorBytes;
    const added = { sector, sectors: length / sectorBytes, pack: source, entry, skip: 0 };
    this.#extentCount++;
    this.#leaves.set(leaf, overlay(this.#leaves.get(leaf) ?? [], added));
  }

  #split(offset: number, length: number, take: (offset: number, length: number, leaf: number) => void): void {
    for (let at = offset; at < offset + length;) {
      const leaf = Math.floor(at / this.#objectBytes);
      const bytes = Math.min((leaf + 1) * this.#objectBytes, offset + length) - at;
      take(at, bytes, leaf);
      at += bytes;
    }
  }
}

/** Offsets are bytes from the leaf's start. */
function clipped(extents: LayerExtent[], offset: number, length: number): LayerExtent[] {
  const [start, end] = [offset / sectorBytes, (offset + length) / sectorBytes];
  const first = firstEndingAfter(extents, start);
  const inside: LayerExtent[] = [];
  for (let i = first; i < extents.length && extents[i]!.sector < end; i++) inside.push(extents[i]!);
  const [head, tail] = [inside[0], inside.at(-1)];
  const sticksOut = (head && head.sector < start) || (tail && tail.sector + tail.sectors > end);
  return sticksOut ? cut(cut(inside, end, Number.MAX_SAFE_INTEGER), 0, start) : inside;
}

const located = ({ sector, sectors, pack: source, entry, skip }: LayerExtent, base: number): Covered => ({
  offset: base + sector * sectorBytes,
  length: sectors * sectorBytes,
  source,
  entry,
  skipBytes: skip * sectorBytes,
});

/** What several layers say of a range, the uppermost last. Sectors and more: whole extents, whatever object they lie in. */
export function layered(layers: readonly Layer[], offset: number, length: number): Covered[] {
  let covered: Covered[] = [];
  for (const layer of layers) covered = laidOver(covered, layer.within(offset, length));
  return covered;
}

/** Both ascend without overlap. One pass: there may be hundreds of thousands. */
function laidOver(below: Covered[], above: Covered[]): Covered[] {
  if (below.length === 0 || above.length === 0) return [...below, ...above];
  const laid: Covered[] = [];
  let index = 0;
  let told = 0;
  const tellBelow = (end: number): void => {
    for (; index < below.length && below[index]!.offset < end; index++) {
      const one = below[index]!;
      const [from, to] = [Math.max(one.offset, told), Math.min(endOf(one), end)];
      if (from < to)
        laid.push({ ...one, offset: from, length: to - from, skipBytes: one.skipBytes + from - one.offset });
      if (endOf(one) > end) return; // its rest comes behind what lies over it
    }
  };
  for (const one of above) {
    tellBelow(one.offset);
    laid.push(one);
    told = endOf(one);
  }
  tellBelow(Number.MAX_SAFE_INTEGER);
  return laid;
}

const endOf = ({ offset, length }: Covered): number => offset + length;
