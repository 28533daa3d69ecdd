// Owns the work that a processor does for many blocks at once: encoding those of a write, verifying those of a pack. It is a port,
// so that a process with threads can do it on them (lib/node); what is here does it in place.

import { encodeEntry, type Compression } from '../format/codec.ts';
import type { PackId } from '../ids.ts';
import { verifyWhole } from './pack-copy.ts';
import { entryKind, parsePackIndex, type NewEntry } from '../format/pack.ts';

export type RawBlock = { imageOffset: number; raw: Uint8Array };

export interface Codec {
  /** Memory for data that it is to encode, which it then need not copy. */
  room(bytes: number): Buffer;
  /** Encodes blocks, in order. The result may share memory with `raw`, which must not change until the pack is made. */
  encode(blocks: readonly RawBlock[], compression: Compression): Promise<NewEntry[]>;
  /** Verifies a whole object: index, size, and every present entry. `bytes` must not change meanwhile. EBADMSG when it is damaged. */
  verify(packId: PackId, bytes: Uint8Array): Promise<void>;
}

export const inlineCodec: Codec = {
  room: (bytes) => Buffer.allocUnsafeSlow(bytes),
  encode: async (blocks, compression) =>
    blocks.map(({ imageOffset, raw }) => encodeEntry(entryKind.block, imageOffset, raw, compression)),
  verify: async (packId, bytes) => verifyWhole(parsePackIndex(bytes, packId), bytes),
};
