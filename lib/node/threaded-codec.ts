// Owns the codec of a process that has threads: encodes and verifies on them (codec-tasks.ts), so that hashing and compressing use
// every core and the event loop goes on moving bytes.
//
// Data in shared memory (`sharedRoom`) are handed over in place; other data are copied once.

import { FarsideError } from '../errors.ts';
import type { Codec, RawBlock } from '../image/bulk-codec.ts';
import { inlineCodec } from '../image/bulk-codec.ts';
import type { Compression } from '../image/codec.ts';
import { hashBytes } from '../image/digest.ts';
import type { PackId } from '../image/ids.ts';
import { encoding, entryKind, type NewEntry } from '../image/pack.ts';
import type { EncodeTask } from './codec-tasks.ts';
import { onThread } from './threads.ts';

/** Below this, handing over costs more than the work. */
const bytesMin = 256 * 1024;

/** Memory that threads see in place. */
export const sharedRoom = (bytes: number): Buffer => Buffer.from(new SharedArrayBuffer(bytes));

export class ThreadedCodec implements Codec {
  room = sharedRoom;

  async encode(blocks: readonly RawBlock[], compression: Compression): Promise<NewEntry[]> {
    const bytes = blocks.reduce((sum, { raw }) => sum + raw.length, 0);
    if (bytes < bytesMin) return inlineCodec.encode(blocks, compression);
    const task: EncodeTask = { ...gathered(blocks), compression };
    const done = await onThread('encode', task);
    return blocks.map(({ imageOffset, raw }, i) => {
      const [encodedBytes, crc, packedAt] = [done.encodedBytes[i]!, done.crcs[i]!, done.packedAt[i]!];
      const isPacked = packedAt >= 0;
      return {
        entry: {
          kind: entryKind.block,
          imageOffset,
          hash: Buffer.from(done.hashes.buffer, done.hashes.byteOffset + i * hashBytes, hashBytes),
          encoding: isPacked ? encoding.zstd : encoding.raw,
          rawBytes: raw.length,
          encodedBytes,
          crc,
        },
        encoded: isPacked ? done.packed.subarray(packedAt, packedAt + encodedBytes) : raw,
      };
    });
  }

  async verify(packId: PackId, bytes: Uint8Array): Promise<void> {
    if (bytes.length < bytesMin || !(bytes.buffer instanceof SharedArrayBuffer))
      return inlineCodec.verify(packId, bytes);
    const { damage } = await onThread('verify', { packId, bytes });
    if (damage !== undefined) throw new FarsideError('EBADMSG', damage);
  }
}

/** The blocks as parts of one piece of memory: in place where they share it, else copied together. */
function gathered(blocks: readonly RawBlock[]): Pick<EncodeTask, 'data' | 'starts' | 'lengths' | 'imageOffsets'> {
  const first = blocks[0]!.raw.buffer;
  const isShared = first instanceof SharedArrayBuffer && blocks.every(({ raw }) => raw.buffer === first);
  const lengths = blocks.map(({ raw }) => raw.length);
  const imageOffsets = blocks.map(({ imageOffset }) => imageOffset);
  if (isShared)
    return { data: new Uint8Array(first), starts: blocks.map(({ raw }) => raw.byteOffset), lengths, imageOffsets };
  let end = 0;
  const starts = lengths.map((length) => (end += length) - length);
  return { data: Buffer.concat(blocks.map(({ raw }) => raw)), starts, lengths, imageOffsets };
}
