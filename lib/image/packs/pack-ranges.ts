// Owns which bytes of a stored pack are read together. Pure.

import { entryKind, type PackIndex } from '../format/pack.ts';

/** Map nodes around a wanted one are read with it, up to this many bytes. */
const nodeWindowBytes = 1024 * 1024;
/** Two wanted ranges with a gap no larger than this are read as one. */
const gapBytesMax = 64 * 1024;

export type Run = { offset: number; length: number; entries: number[] };

/** Groups ascending entries into ranges of the stored copy. */
export function coalesce(index: PackIndex, wanted: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const entryIndex of wanted) {
    index.entry(entryIndex);
    const { offset, length } = index.range(entryIndex);
    const run = runs.at(-1);
    if (run && offset - (run.offset + run.length) <= gapBytesMax) {
      run.length = Math.max(run.length, offset + length - run.offset);
      run.entries.push(entryIndex);
    } else {
      runs.push({ offset, length, entries: [entryIndex] });
    }
  }
  return runs;
}

/** Entries to read with a wanted node: its present neighbours, mostly the following ones, as walks go upwards. */
export function nodeWindow(index: PackIndex, entryIndex: number): number[] {
  const isNode = (i: number): boolean => index.isPresent(i) && index.entry(i).kind === entryKind.node;
  const entries = [entryIndex];
  let bytes = index.entry(entryIndex).encodedBytes;
  for (let i = entryIndex + 1; i < index.entryCount && isNode(i) && bytes < nodeWindowBytes; i++) {
    entries.push(i);
    bytes += index.entry(i).encodedBytes;
  }
  for (let i = entryIndex - 1; i >= 0 && isNode(i) && bytes < nodeWindowBytes; i--) {
    entries.push(i);
    bytes += index.entry(i).encodedBytes;
  }
  return entries;
}
