// Owns what every kind of bucket accepts: which text may be a key, the order of keys, and the sizes of pages and batches.
// The figures are those of R2 and S3, the strictest kinds, so that what works on one kind works on all.

import { FarsideError } from '../errors.ts';
import type { ByteRange } from './driver.ts';

export const keyBytesMax = 1024;
/** Longest page of a list. */
export const listLimitMax = 1000;
/** Most keys in one call of `Driver.delete`. */
export const deleteKeysMax = 1000;

/** Throws EINVAL unless `key` may name an object: 1 to 1,024 bytes of well-formed Unicode. */
export function checkKey(key: string): void {
  if (key.length > 0 && key.isWellFormed() && Buffer.byteLength(key) <= keyBytesMax) return;
  throw new FarsideError(
    'EINVAL',
    `invalid key '${key.slice(0, 80)}': use 1 to ${keyBytesMax} bytes of well-formed Unicode`,
  );
}

export function checkDeleteBatch(keys: readonly string[]): void {
  if (keys.length <= deleteKeysMax) return;
  throw new FarsideError('EINVAL', `${keys.length} keys in one delete: at most ${deleteKeysMax}`);
}

/** The page length to use for a wanted `limit`. */
export function pageLimit(limit: number): number {
  if (Number.isInteger(limit) && limit > 0) return Math.min(limit, listLimitMax);
  throw new FarsideError('EINVAL', `invalid list limit ${limit}: use 1 to ${listLimitMax}`);
}

/** The part of `range` that lies within an object of `bytes`. EINVAL unless offset and length are counts of bytes. */
export function clampRange({ offset, length }: ByteRange, bytes: number): ByteRange {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new FarsideError('EINVAL', `invalid range: offset ${offset}, length ${length}`);
  }
  const start = Math.min(offset, bytes);
  return { offset: start, length: Math.min(length, bytes - start) };
}

/** UTF-16 sorts surrogates (beyond U+FFFF) before U+E000–U+FFFF, UTF-8 after them; this moves them there. */
function utf8Rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** Orders keys by their UTF-8 bytes, as R2 and S3 list them; JavaScript's own order of strings is another. */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const x = a.charCodeAt(index);
    const y = b.charCodeAt(index);
    if (x !== y) return utf8Rank(x) - utf8Rank(y);
  }
  return a.length - b.length;
}

/** Where `key` is or belongs in `sorted`. */
export function positionOf(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(sorted[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
