// Owns how a structured reply to a read is cut into chunks of data and holes. Pure.

import type { Extent } from './device.ts';

export type Piece = Extent & { offset: number };

/** Smaller holes are sent as data: a hole costs 32 bytes, another chunk and another read. */
const holeBytesMin = 16 * 1024;
/** Asking a device for extents pays from here on. */
export const sparseReadBytesMin = 64 * 1024;
const pieceCountMax = 64;

/** Covers the range. What the extents leave open is taken for data. */
export function planRead(offset: number, length: number, extents: readonly Extent[]): Piece[] {
  const pieces: Piece[] = [];
  let position = offset;
  const end = offset + length;
  for (const extent of extents) {
    if (position >= end || pieces.length >= pieceCountMax) break;
    const covered = Math.min(extent.length, end - position);
    append(pieces, { offset: position, length: covered, hole: extent.hole && covered >= holeBytesMin });
    position += covered;
  }
  if (position < end) append(pieces, { offset: position, length: end - position, hole: false });
  return pieces;
}

function append(pieces: Piece[], piece: Piece): void {
  const last = pieces.at(-1);
  if (last?.hole === piece.hole) last.length += piece.length;
  else pieces.push(piece);
}

/** The extents of a block status: within the range, no two alike in a row. */
export function joinExtents(extents: readonly Extent[], lengthMax: number, countMax: number): Extent[] {
  const joined: Extent[] = [];
  let rest = lengthMax;
  for (const { length, hole } of extents) {
    const covered = Math.min(length, rest);
    const last = joined.at(-1);
    if (covered === 0) break;
    if (last?.hole === hole) last.length += covered;
    else if (joined.length === countMax) break;
    else joined.push({ length: covered, hole });
    rest -= covered;
  }
  return joined;
}
