// Owns the format of a fence (docs/format.md, "Journal"): what lies in the slot that ends an epoch. Pure: no I/O. Whoever looks for
// a copy of a pack in a slot may find one there, at a replica that goes on from a point behind it: it is no copy.

import { FarsideError } from '../../errors.ts';
import { crc32 } from './digest.ts';
import type { Slot } from './node.ts';

const epochBytes = 8;
const crcBytes = 4;
const fenceMagic = Buffer.from('farsideF', 'latin1');
const seqAt = fenceMagic.length + epochBytes;
const seqBytes = 6;
const passedAt = seqAt + seqBytes;
/** No segment is as short as a fence, so their sizes alone tell them apart. */
export const fenceBytes = passedAt + 2 + crcBytes;
/** Of what lies in a slot, by its size. */
export const isFenceSized = ({ bytes }: { bytes: number }): boolean => bytes === fenceBytes;

/**
 * What ends an epoch, in its first free slot: no writer of that epoch gets any further.
 * @param passed fences that a replica had passed before this one was put (replica-end.ts)
 */
export function encodeFence({ epoch, seq }: Slot, passed = 0): Buffer {
  const bytes = Buffer.alloc(fenceBytes);
  fenceMagic.copy(bytes);
  Buffer.from(epoch, 'hex').copy(bytes, fenceMagic.length);
  bytes.writeUIntLE(seq, seqAt, seqBytes);
  bytes.writeUInt16LE(passed, passedAt);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, fenceBytes - crcBytes)), fenceBytes - crcBytes);
  return bytes;
}

/** False for anything else; EBADMSG for a fence that is damaged or of another slot. */
export const isFence = (body: Uint8Array, slot: Slot): boolean => passedBy(body, slot) !== undefined;

/** How many fences had been passed when this one was put; undefined for anything else. EBADMSG as `isFence`. */
export function passedBy(body: Uint8Array, slot: Slot): number | undefined {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!bytes.subarray(0, fenceMagic.length).equals(fenceMagic)) return undefined;
  const passed = bytes.length === fenceBytes ? bytes.readUInt16LE(passedAt) : 0;
  if (bytes.equals(encodeFence(slot, passed))) return passed;
  throw new FarsideError('EBADMSG', `damaged fence in slot ${slot.seq} of epoch ${slot.epoch}`);
}
