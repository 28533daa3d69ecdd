// Owns copying packs between sites: taking the wanted entries out of what a peer sent, verifying each, and the union of two
// sparse copies. Pure: no I/O. A copy's entries are byte-equal to the original's: nothing is encoded again.

import { FarsideError } from '../../errors.ts';
import { decodeEntry } from '../format/codec.ts';
import type { PackId } from '../ids.ts';
import { encodeCopy, encoding, parsePackIndex, type PackIndex } from '../format/pack.ts';

/** Entries wanted of a pack: every one, or those in ascending, inclusive ranges. */
export type WantedEntries = 'all' | readonly (readonly [number, number])[];

/** The numbers that `wanted` names, ascending. EBADMSG when a range lies outside the pack. */
export function entryNumbers(wanted: WantedEntries, entryCount: number): number[] {
  const numbers: number[] = [];
  for (const [first, last] of wanted === 'all' ? [[0, entryCount - 1] as const] : wanted) {
    if (first > last || last >= entryCount || first <= (numbers.at(-1) ?? -1)) {
      throw new FarsideError('EBADMSG', `entries ${first} to ${last} cannot be wanted of a pack with ${entryCount}`);
    }
    for (let i = first; i <= last; i++) numbers.push(i);
  }
  return numbers;
}

/** The inverse of `entryNumbers`: ranges for ascending numbers; `all` when they are every one. */
export function entryRanges(numbers: readonly number[], entryCount: number): WantedEntries {
  if (numbers.length === entryCount) return 'all';
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

/** Where the wanted entries lie in a stored copy: byte ranges, those with gaps up to `gapBytesMax` joined. EBADMSG when one is absent. */
export function rangesOf(
  index: PackIndex,
  wanted: WantedEntries,
  gapBytesMax: number,
): { offset: number; length: number }[] {
  const ranges: { offset: number; length: number }[] = [];
  for (const entryIndex of entryNumbers(wanted, index.entryCount)) {
    if (!index.isPresent(entryIndex)) throw absent(index, entryIndex);
    const { offset, length } = index.range(entryIndex);
    if (length === 0) continue;
    const last = ranges.at(-1);
    if (last && offset - (last.offset + last.length) <= gapBytesMax) last.length = offset + length - last.offset;
    else ranges.push({ offset, length });
  }
  return ranges;
}

/**
 * Verifies every wanted entry (CRC and hash) and answers an object that holds exactly those.
 * @param body gives the bytes of a range of the sender's copy.
 * @throws EBADMSG naming the pack and the entry.
 */
export function verifiedCopy(
  index: PackIndex,
  wanted: WantedEntries,
  body: (offset: number, length: number) => Uint8Array,
): Buffer {
  const chosen = new Set(entryNumbers(wanted, index.entryCount));
  return encodeCopy(index, (entryIndex) => (chosen.has(entryIndex) ? verified(index, entryIndex, body) : undefined));
}

/** The sender's half: the wanted entries as they are stored in `bytes`, not decoded. EBADMSG when one is absent. */
export function selectedCopy(index: PackIndex, wanted: WantedEntries, bytes: Uint8Array): Buffer {
  const chosen = new Set(entryNumbers(wanted, index.entryCount));
  const body = (offset: number, length: number): Uint8Array => bytes.subarray(offset, offset + length);
  return encodeCopy(index, (entryIndex) => (chosen.has(entryIndex) ? stored(index, entryIndex, body) : undefined));
}

type Body = (offset: number, length: number) => Uint8Array;

function stored(index: PackIndex, entryIndex: number, body: Body): Uint8Array {
  if (!index.isPresent(entryIndex)) throw absent(index, entryIndex);
  const { offset, length } = index.range(entryIndex);
  return body(offset, length);
}

function verified(index: PackIndex, entryIndex: number, body: Body): Uint8Array {
  const encoded = stored(index, entryIndex, body);
  verifyEntry(index, entryIndex, encoded);
  return encoded;
}

/** Verifies every present entry of a whole object. Cheaper than `verifiedCopy` when the object can be stored as it came. */
export function verifyWhole(index: PackIndex, bytes: Uint8Array): void {
  if (bytes.length !== index.storedBytes)
    throw new FarsideError(
      'EBADMSG',
      `pack ${index.packId} has ${bytes.length} bytes, its index says ${index.storedBytes}`,
    );
  for (let i = 0; i < index.entryCount; i++) {
    if (!index.isPresent(i)) continue;
    const { offset, length } = index.range(i);
    verifyEntry(index, i, bytes.subarray(offset, offset + length));
  }
}

function verifyEntry(index: PackIndex, entryIndex: number, encoded: Uint8Array): void {
  const entry = index.entry(entryIndex);
  try {
    if (entry.encoding !== encoding.zero) decodeEntry(entry, encoded);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FarsideError(
      'EBADMSG',
      `entry ${entryIndex} (image offset ${entry.imageOffset}) of pack ${index.packId} cannot be trusted: ${why}`,
      { cause },
    );
  }
}

/** The union of two copies of one pack; undefined when `stored` has everything that `added` has. Neither is verified again. */
export function mergeCopies(packId: PackId, stored: Uint8Array, added: Uint8Array): Buffer | undefined {
  const [a, b] = [parsePackIndex(stored, packId), parsePackIndex(added, packId)];
  let gains = false;
  for (let i = 0; i < a.entryCount && !gains; i++) gains = b.isPresent(i) && !a.isPresent(i);
  if (!gains) return undefined;
  return encodeCopy(a, (i) =>
    a.isPresent(i) ? a.encoded(stored, i) : b.isPresent(i) ? b.encoded(added, i) : undefined,
  );
}

const absent = (index: PackIndex, entryIndex: number): FarsideError =>
  new FarsideError('EBADMSG', `entry ${entryIndex} of pack ${index.packId} is not in this copy`);
