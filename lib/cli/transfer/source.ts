// Owns reading what `import` is given: a file, a block device, a pipe or standard input, in order, one chunk ahead of the
// reader. Memory: one chunk, and those that the reader has not released.

import { open, readFile, type FileHandle } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import type { Readable } from 'node:stream';
import { FarsideError } from '../../errors.ts';
import { sharedRoom } from '../../node/threaded-codec.ts';

/** `release`: the reader is done with `data`, whose memory may hold a later chunk. */
export type Chunk = { offset: number; data: Uint8Array; release: () => void };

export type Source = {
  /** Undefined where the end is known only when it comes. */
  sizeBytes: number | undefined;
  /** Ascending; every chunk but the last has `chunkBytes`. Ranges that are skipped are holes, and so is what follows up to `sizeBytes`. */
  chunks(chunkBytes: number): AsyncGenerator<Chunk>;
  /** Everything in order, in parts of any length as they come, none of which changes later. */
  bytes(): AsyncGenerator<Uint8Array>;
  close(): Promise<void>;
};

export const stdinPath = '-';

/** Bytes of a file that are read at once where their number does not matter. */
const partBytes = 256 * 1024;

/** ENOENT and EACCES as the system says; EINVAL for a directory. */
export async function openSource(path: string, stdin: Readable): Promise<Source> {
  if (path === stdinPath) return streamSource(stdin);
  const file = await openFile(path);
  try {
    return await fileSource(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    const absent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw new FarsideError(absent ? 'ENOENT' : 'EACCES', `error opening ${path}`, { cause });
  }
}

async function fileSource(file: FileHandle): Promise<Source> {
  const stats = await file.stat();
  if (stats.isDirectory()) throw new FarsideError('EINVAL', 'cannot import a directory');
  const sizeBytes = await sizeOf(stats);
  // Node knows no SEEK_HOLE, so only a file that is one hole is skipped; other holes are read, and found to be zeros.
  const isOneHole = stats.isFile() && stats.blocks === 0 && stats.size > 0;
  return {
    sizeBytes,
    chunks: (chunkBytes) => (isOneHole ? noChunks() : readAhead(file, chunkBytes)),
    bytes: () => streamBytes(file.createReadStream({ highWaterMark: partBytes, autoClose: false })),
    close: () => file.close(),
  };
}

async function* noChunks(): AsyncGenerator<Chunk> {}

/** Regular files and, on Linux, block devices; pipes and others end when they end. */
async function sizeOf(stats: Stats): Promise<number | undefined> {
  if (stats.isFile()) return stats.size;
  if (!stats.isBlockDevice()) return undefined;
  const device = BigInt(stats.rdev);
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn);
  try {
    return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * 512;
  } catch {
    return undefined;
  }
}

/** Fills `room` from the file's position; shorter only at the end. */
async function readFull(file: FileHandle, room: Buffer): Promise<Uint8Array> {
  let filledBytes = 0;
  while (filledBytes < room.length) {
    const { bytesRead } = await file.read(room, filledBytes, room.length - filledBytes, null);
    if (bytesRead === 0) break;
    filledBytes += bytesRead;
  }
  return room.subarray(0, filledBytes);
}

async function* readAhead(file: FileHandle, chunkBytes: number): AsyncGenerator<Chunk> {
  const rooms: Buffer[] = [];
  const read = async (): Promise<{ room: Buffer; data: Uint8Array }> => {
    const room = rooms.pop() ?? sharedRoom(chunkBytes);
    return { room, data: await readFull(file, room) };
  };
  let next = read();
  for (let offset = 0; ;) {
    const { room, data } = await next;
    if (data.length === 0) return;
    next = data.length < chunkBytes ? Promise.resolve({ room, data: new Uint8Array(0) }) : read();
    next.catch(() => {}); // thrown in its turn above; until then it must not count as unhandled
    yield { offset, data, release: () => rooms.push(room) };
    offset += data.length;
  }
}

function streamSource(stream: Readable): Source {
  return {
    sizeBytes: undefined,
    chunks: (chunkBytes) => streamChunks(stream, chunkBytes),
    bytes: () => streamBytes(stream),
    close: async () => {},
  };
}

async function* streamBytes(stream: Readable): AsyncGenerator<Uint8Array> {
  for await (const part of stream) yield Buffer.from(part as Uint8Array | string);
}

/** Copies, so that nothing keeps a stream's small buffers alive. */
async function* streamChunks(stream: Readable, chunkBytes: number): AsyncGenerator<Chunk> {
  const rooms: Buffer[] = [];
  let data = sharedRoom(chunkBytes);
  let filledBytes = 0;
  let offset = 0;
  for await (const part of stream) {
    const bytes = Buffer.from(part as Uint8Array | string);
    for (let taken = 0; taken < bytes.length;) {
      const length = Math.min(chunkBytes - filledBytes, bytes.length - taken);
      data.set(bytes.subarray(taken, taken + length), filledBytes);
      taken += length;
      filledBytes += length;
      if (filledBytes < chunkBytes) continue;
      const room = data;
      yield { offset, data, release: () => rooms.push(room) };
      offset += chunkBytes;
      data = rooms.pop() ?? sharedRoom(chunkBytes);
      filledBytes = 0;
    }
  }
  if (filledBytes > 0) yield { offset, data: data.subarray(0, filledBytes), release: () => {} };
}
