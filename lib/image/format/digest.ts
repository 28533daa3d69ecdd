// Owns the two checksums of the format: SHA-256 cut to 128 bits names content, CRC-32 (zlib's) guards encoded bytes.

import { hash } from 'node:crypto';
import { crc32 as zlibCrc32 } from 'node:zlib';

export const hashBytes = 16;

/** The first 128 bits of the SHA-256 of the parts, one after another. */
export function hash128(...parts: readonly Uint8Array[]): Buffer {
  const data = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  return hash('sha256', data, 'buffer').subarray(0, hashBytes);
}

export const crc32 = (data: Uint8Array): number => zlibCrc32(data);

const zeros = Buffer.alloc(64 * 1024);

/** True when every byte is zero. */
export function isZero(data: Uint8Array): boolean {
  for (let offset = 0; offset < data.length; offset += zeros.length) {
    const end = Math.min(offset + zeros.length, data.length);
    if (zeros.compare(data, offset, end, 0, end - offset) !== 0) return false;
  }
  return true;
}
