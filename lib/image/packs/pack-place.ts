// Owns where the copies of a pack may lie: among an image's packs, or, of a pack that was born as a journal segment, in its
// slot. Pure.

import { keyText } from '../../bucket/keys.ts';
import type { PackId } from '../ids.ts';
import type { Slot } from '../format/node.ts';

export type Placed = { packId: PackId; slot?: Slot | undefined };

/**
 * Keys under which an image may have the pack, the likeliest first.
 * @param slotsFirst the image has a journal of its own.
 */
export function packKeys(imageId: string, { packId, slot }: Placed, slotsFirst = true): string[] {
  const plain = keyText({ kind: 'pack', imageId, packId });
  if (!slot) return [plain];
  const born = keyText({ kind: 'slot', imageId, ...slot });
  return slotsFirst ? [born, plain] : [plain, born];
}
