// Owns the question where a map holds data, for who is asked about extents of a disk.

import type { Root } from '../image/header.ts';
import type { PackStore } from '../image/packs/pack-store.ts';
import { windows, type ByteSpan } from '../image/map/read.ts';
import { gapsOf, merged, type Extent } from './extents.ts';
import type { Covered } from './layer.ts';

type MapPlace = { root: Root | null; objectBytes: number };

/** Answers are cut after so many extents. */
export const extentsMax = 4096;

export type MapExtents = {
  found: ByteSpan[];
  /** The end of the span, or where there was too much to tell. */
  endOffset: number;
};

/** Where the map holds data, ascending. */
export async function mapExtents(
  store: PackStore,
  { root, objectBytes }: MapPlace,
  span: ByteSpan,
): Promise<MapExtents> {
  const found: ByteSpan[] = [];
  for await (const window of windows(store, root, objectBytes, span)) {
    for (const { offset, length } of window) found.push({ offset, length });
    const last = found.at(-1);
    if (last && found.length >= extentsMax) return { found, endOffset: last.offset + last.length };
  }
  return { found, endOffset: span.offset + span.length };
}

/**
 * Data and holes from `start` to `end`, or of a prefix: of a map and what lies `above` it.
 * @param span `from` to `to` are the whole sectors around it.
 */
export async function layeredExtents(
  store: PackStore,
  { above, ...map }: MapPlace & { above: readonly Covered[] },
  { from, to, start, end }: { from: number; to: number; start: number; end: number },
): Promise<Extent[]> {
  const known = above.map(({ source, offset, length }) => ({ offset, length, hole: source === 'hole' }));
  let knownEnd = to;
  for (const gap of gapsOf(above, from, to)) {
    const { found, endOffset } = await mapExtents(store, map, gap);
    for (const span of found) known.push({ ...span, hole: false });
    knownEnd = endOffset;
    if (endOffset < gap.offset + gap.length) break;
    knownEnd = to;
  }
  known.sort((a, b) => a.offset - b.offset);
  return merged(known, start, Math.min(end, knownEnd)).slice(0, extentsMax);
}
