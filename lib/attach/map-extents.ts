// Owns the question where a map holds data, for who is asked about extents of a disk.

import type { Root } from '../image/header.ts';
import type { PackStore } from '../image/pack-store.ts';
import { windows, type ByteSpan } from '../image/read.ts';

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
  { root, objectBytes }: { root: Root | null; objectBytes: number },
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
