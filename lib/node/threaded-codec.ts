// Owns the codec of a process that has threads: encodes and verifies on them (codec-tasks.ts), so that hashing and compressing use
// every core and the event loop goes on moving bytes.
//
// Data in shared memory (`sharedRoom`) are handed over in place; other data are copied once.

import { FarsideError } from '../errors.ts';
import type { Codec, RawBlock } from '../image/packs/bulk-codec.ts';
import { inlineCodec } from '../image/packs/bulk-codec.ts';
import type { Compression } from '../image/format/codec.ts';
import { hashBytes } from '../image/format/digest.ts';
import type { PackId } from '../image/ids.ts';
import { encoding, entryKind, type NewEntry } from '../image/format/pack.ts';
import type { EncodeTask } from './codec-tasks.ts';
import { onThread } from './threads.ts';

/** Below this, handing over costs more than the work; somebody who flushes waits for it. */
const encodeBytesMin = 1024 * 1024;
const verifyBytesMin = 256 * 1024;

/** Memory that threads see in place. */
export const sharedRoom = (bytes: number): Buffer => Buffer.from(new SharedArrayBuffer(bytes));

export class ThreadedCodec implements Codec {
  room = sharedRoom;

  async encode(blocks: readonly RawBlock[], compression: Compression): Promise<NewEntry[]> {
    const bytes = blocks.reduce((sum, { raw }) => sum + raw.length, 0);
    if (bytes < encodeBytesMin) return inlineCodec.encode(blocks, compression);
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
    if (bytes.length < verifyBytesMin || !(bytes.buffer instanceof SharedArrayBuffer))
      return inlineCodec.verify(packId, bytes);
    const { damage } = await onThread('verify', { packId, bytes });
    if (damage !== undefined) throw new FarsideError('EBADMSG', damage);
  }
}

type Gathered = Pick<EncodeTask, 'rooms' | 'roomOf' | 'starts' | 'lengths' | 'imageOffsets'>;

/** Blocks in shared memory stay where they are; the others are copied together. */
function gathered(blocks: readonly RawBlock[]): Gathered {
  const copied = blocks.flatMap(({ raw }) => (raw.buffer instanceof SharedArrayBuffer ? [] : [raw]));
  const rooms: Uint8Array[] = [Buffer.concat(copied)];
  const roomOfBuffer = new Map<ArrayBufferLike, number>();
  const task: Gathered = {
    rooms,
    roomOf: [],
    starts: [],
    lengths: blocks.map(({ raw }) => raw.length),
    imageOffsets: blocks.map(({ imageOffset }) => imageOffset),
  };
  let copiedBytes = 0;
  for (const { raw } of blocks) {
    const isShared = raw.buffer instanceof SharedArrayBuffer;
    if (isShared && !roomOfBuffer.has(raw.buffer))
      roomOfBuffer.set(raw.buffer, rooms.push(new Uint8Array(raw.buffer)) - 1);
    task.roomOf.push(isShared ? roomOfBuffer.get(raw.buffer)! : 0);
    task.starts.push(isShared ? raw.byteOffset : copiedBytes);
    if (!isShared) copiedBytes += raw.length;
  }
  return task;
}
