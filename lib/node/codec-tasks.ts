// Owns the work on many blocks as a thread does it: on memory that it is handed, without any I/O.

import { FarsideError } from '../errors.ts';
import { encodeEntry, type Compression } from '../image/format/codec.ts';
import { hashBytes } from '../image/format/digest.ts';
import { parsePackId } from '../image/ids.ts';
import { verifyWhole } from '../image/packs/pack-copy.ts';
import { encoding, entryKind, parsePackIndex } from '../image/format/pack.ts';

/** Block i: `lengths[i]` bytes of `rooms[roomOf[i]]` from `starts[i]` on. */
export type EncodeTask = {
  rooms: Uint8Array[];
  roomOf: number[];
  starts: number[];
  lengths: number[];
  imageOffsets: number[];
  compression: Compression;
};

/** `packedAt`: where in `packed` the compressed bytes begin; -1: the block stays raw. */
export type EncodeDone = {
  hashes: Uint8Array;
  crcs: Uint32Array;
  encodedBytes: Uint32Array;
  packedAt: Int32Array;
  packed: Uint8Array;
};

export type VerifyTask = { packId: string; bytes: Uint8Array };
export type VerifyDone = { damage?: string };

export function encode({ rooms, roomOf, starts, lengths, imageOffsets, compression }: EncodeTask): EncodeDone {
  const count = starts.length;
  const hashes = new Uint8Array(count * hashBytes);
  const crcs = new Uint32Array(count);
  const encodedBytes = new Uint32Array(count);
  const packedAt = new Int32Array(count).fill(-1);
  const parts: Uint8Array[] = [];
  let packedBytes = 0;
  for (let i = 0; i < count; i++) {
    const raw = rooms[roomOf[i]!]!.subarray(starts[i], starts[i]! + lengths[i]!);
    const { entry, encoded } = encodeEntry(entryKind.block, imageOffsets[i]!, raw, compression);
    hashes.set(entry.hash, i * hashBytes);
    crcs[i] = entry.crc;
    encodedBytes[i] = entry.encodedBytes;
    if (entry.encoding !== encoding.zstd) continue;
    packedAt[i] = packedBytes;
    packedBytes += encoded.length;
    parts.push(encoded);
  }
  return { hashes, crcs, encodedBytes, packedAt, packed: Buffer.concat(parts, packedBytes) };
}

export function verify({ packId, bytes }: VerifyTask): VerifyDone {
  try {
    verifyWhole(parsePackIndex(bytes, parsePackId(packId)), bytes);
    return {};
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'EBADMSG') return { damage: error.message };
    throw error;
  }
}
