// Owns reading the head of an image in use: what lies over the map, and the map below, taken together at one moment (`view`).

import { sectorBytes } from '../image/format/node.ts';
import type { Root } from '../image/header.ts';
import type { ByteSpan, Located } from '../image/map/read.ts';
import { allDone } from '../all-done.ts';
import { gapsOf, type Extent } from './extents.ts';
import type { Covered } from './layer.ts';
import { layeredExtents } from './map-extents.ts';
import type { ReadCache } from './read-cache.ts';

export type View = { above: Covered[]; root: Root | null };

export class HeadReader {
  readonly #cache: ReadCache;
  readonly #objectBytes: number;
  readonly #view: (offset: number, length: number) => View;

  /** @param view of whole sectors. */
  constructor(cache: ReadCache, objectBytes: number, view: (offset: number, length: number) => View) {
    this.#cache = cache;
    this.#objectBytes = objectBytes;
    this.#view = view;
  }

  /**
   * Fills `out`: whole sectors. What is in memory is copied before anything is waited for, since it may be used again later; and
   * nothing is copied any more when this has settled.
   */
  async fill(offset: number, out: Uint8Array): Promise<void> {
    const { above, root } = this.#view(offset, out.length);
    const part = (of: ByteSpan): Uint8Array => out.subarray(of.offset - offset, of.offset - offset + of.length);
    for (const covered of above) {
      const { source, skipBytes, length } = covered;
      if (source === 'hole') part(covered).fill(0);
      else if ('data' in source) part(covered).set(source.data.subarray(skipBytes, skipBytes + length));
    }
    const stored = storedIn(above);
    const gaps = gapsOf(above, offset, offset + out.length);
    await allDone([
      ...(stored.length > 0 ? [this.#cache.copy(out, offset, stored)] : []),
      ...gaps.map((gap) => this.#cache.readInto(part(gap), root, gap)),
    ]);
  }

  /** Brings whole sectors into the cache. */
  async load({ offset, length }: ByteSpan): Promise<void> {
    const { above, root } = this.#view(offset, length);
    const gaps = gapsOf(above, offset, offset + length);
    await allDone([this.#cache.load(storedIn(above)), ...gaps.map((gap) => this.#cache.loadRange(root, gap))]);
  }

  /** The whole sectors around a range, and where they begin. */
  async sectorsAround(offset: number, length: number): Promise<{ sectors: Uint8Array; from: number }> {
    const from = Math.floor(offset / sectorBytes) * sectorBytes;
    const sectors = Buffer.allocUnsafeSlow(Math.ceil((offset + length) / sectorBytes) * sectorBytes - from);
    await this.fill(from, sectors);
    return { sectors, from };
  }

  /** Which parts of a range hold data; covers a prefix of it, at least one extent. */
  extents(start: number, end: number): Promise<Extent[]> {
    const from = Math.floor(start / sectorBytes) * sectorBytes;
    const to = Math.ceil(end / sectorBytes) * sectorBytes;
    const view = { ...this.#view(from, to - from), objectBytes: this.#objectBytes };
    return layeredExtents(this.#cache.store, view, { from, to, start, end });
  }
}

const storedIn = (above: readonly Covered[]): Located[] =>
  above.flatMap((part) =>
    typeof part.source === 'object' && 'pack' in part.source ? [{ ...part, pack: part.source.pack }] : [],
  );
