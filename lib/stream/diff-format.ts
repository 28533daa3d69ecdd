// Owns what a diff stream is made of (docs/streams.md): banners, tags, records and limits. Integers are little-endian.
//
//   v1   `rbd diff v1\n`, then records: tag, fields
//   v2   `rbd diff v2\n`, then records: tag, length of the fields (u64), fields; the end record has no length

import { FarsideError } from '../errors.ts';

export type DiffVersion = 1 | 2;
export const diffBanners: Record<DiffVersion, string> = { 1: 'rbd diff v1\n', 2: 'rbd diff v2\n' };

/**
 * What stands before the data: where the difference begins and ends, whether the end is protected, and the image's size there.
 * Then the data: `write` is followed by `length` bytes, `zero` by none.
 */
export type DiffRecord =
  | { type: 'from' | 'to'; name: string }
  | { type: 'protected'; isProtected: boolean }
  | { type: 'size'; sizeBytes: number }
  | DataRecord;

export type DataRecord = { type: 'write' | 'zero'; offset: number; length: number };

export const diffTags = { from: 'f', to: 't', protected: 'p', size: 's', write: 'w', zero: 'z', end: 'e' } as const;
export type DiffTag = keyof typeof diffTags;

/** As rbd: longer names are taken for garbage. */
export const nameBytesMax = 4096;

/** The stream is not what it should be. `positionBytes`: where that was noticed. */
export const damaged = (what: string, positionBytes: number): FarsideError =>
  new FarsideError('EBADMSG', `damaged stream: ${what} (at byte ${positionBytes})`);
