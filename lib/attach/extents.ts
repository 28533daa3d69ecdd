// Owns how pieces of a range are told: what lies between them, and neighbours of one kind as one. Pure.

import { sectorBytes } from '../image/format/node.ts';
import type { ByteSpan } from '../image/map/read.ts';
import type { Covered } from './layer.ts';

export type Extent = { length: number; hole: boolean };

/** Whether a range begins and ends where sectors do. */
export const areSectors = (offset: number, length: number): boolean =>
  offset % sectorBytes === 0 && length % sectorBytes === 0;

/** What of a range nothing covers. */
export function gapsOf(covered: readonly Covered[], start: number, end: number): ByteSpan[] {
  const gaps: ByteSpan[] = [];
  let at = start;
  for (const { offset, length } of covered) {
    if (offset > at) gaps.push({ offset: at, length: offset - at });
    at = offset + length;
  }
  if (at < end) gaps.push({ offset: at, length: end - at });
  return gaps;
}

/** Neighbours of one kind are one; what no extent names is a hole. */
export function merged(
  known: readonly { offset: number; length: number; hole: boolean }[],
  start: number,
  end: number,
): Extent[] {
  const extents: Extent[] = [];
  const add = (length: number, hole: boolean): void => {
    const last = extents.at(-1);
    if (length <= 0) return;
    if (last?.hole === hole) last.length += length;
    else extents.push({ length, hole });
  };
  let at = start;
  for (const { offset, length, hole } of known) {
    const [from, to] = [Math.max(offset, at), Math.min(offset + length, end)];
    if (to <= from) continue;
    add(from - at, true);
    add(to - from, hole);
    at = to;
  }
  add(end - at, true);
  return extents;
}
