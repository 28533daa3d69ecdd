// Owns the keys that peers show each other: 256 random bits each. Of a key that others show us only the hash is stored; a
// 256-bit key needs no slow hash. Comparison takes the same time wherever the difference lies.

import { createHash, timingSafeEqual } from 'node:crypto';

import type { Random } from '../../random.ts';

const keyBytes = 32;

export const newPeerKey = (random: Random): string => Buffer.from(random.bytes(keyBytes)).toString('base64url');

/** SHA-256, hex. */
export const hashKey = (key: string): string => createHash('sha256').update(key).digest('hex');

export function matchesHash(key: string, hash: string): boolean {
  const shown = createHash('sha256').update(key).digest();
  const stored = Buffer.from(hash, 'hex');
  return stored.length === shown.length && timingSafeEqual(shown, stored);
}
