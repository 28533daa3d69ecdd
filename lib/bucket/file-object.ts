// Owns the layout of one object's file in a FileDriver: the body, then a trailer of 32 bytes (magic, random tag, time of
// writing). The tag is random per version, so that neither a put nor a head has to read or hash the body, and no two
// versions share one. A file is complete before it gets its name; the trailer is not a checksum.

import fs from 'node:fs';
import { promisify } from 'node:util';

import { FarsideError } from '../errors.ts';
import type { ByteRange, Etag } from './driver.ts';
import { clampRange } from './rules.ts';

const magic = Buffer.from('farside1');
export const tagBytes = 16;
const trailerBytes = magic.length + tagBytes + 8;

/** Up to here a read or write in place beats the trip to a thread; more would hold up the event loop. */
const inPlaceBytesMax = 256 * 1024;

const readAsync = promisify(fs.read);
const writevAsync = promisify(fs.writev);
const fdatasync = promisify(fs.fdatasync);

/** What a file says of its object, without the key. */
export type FileMeta = { bytes: number; etag: Etag; uploadedAtMs: number };

/** Writes a new file and waits until it is on the disk. */
export async function writeObjectFile(
  path: string,
  body: Uint8Array,
  { tag, nowMs }: { tag: Uint8Array; nowMs: number },
): Promise<void> {
  const trailer = Buffer.alloc(trailerBytes);
  magic.copy(trailer);
  trailer.set(tag, magic.length);
  trailer.writeDoubleBE(nowMs, magic.length + tagBytes);
  const file = fs.openSync(path, 'wx');
  try {
    await writeAll(file, [body, trailer]);
    await fdatasync(file);
  } finally {
    fs.closeSync(file);
  }
}

/** Reads the whole body, in one read together with the trailer. */
export async function readObjectFile(file: number, key: string): Promise<{ meta: FileMeta; body: Uint8Array }> {
  const fileBytes = fs.fstatSync(file).size;
  const content = await readAt(file, { offset: 0, length: fileBytes });
  const bodyBytes = Math.max(0, fileBytes - trailerBytes);
  return { meta: parseTrailer(key, content.subarray(bodyBytes), bodyBytes), body: content.subarray(0, bodyBytes) };
}

/** Into `room`, if the range fits there. */
export async function readObjectRange(
  file: number,
  meta: FileMeta,
  range: ByteRange,
  room?: Uint8Array,
): Promise<Uint8Array> {
  return readAt(file, clampRange(range, meta.bytes), room);
}

/** Reads the trailer only. */
export function readObjectMeta(file: number, key: string): FileMeta {
  const bodyBytes = Math.max(0, fs.fstatSync(file).size - trailerBytes);
  const trailer = Buffer.allocUnsafe(trailerBytes);
  const readBytes = fs.readSync(file, trailer, 0, trailerBytes, bodyBytes);
  return parseTrailer(key, trailer.subarray(0, readBytes), bodyBytes);
}

export function tagOf(tag: Uint8Array): Etag {
  return Buffer.from(tag.buffer, tag.byteOffset, tag.byteLength).toString('hex');
}

function parseTrailer(key: string, bytesAtEnd: Uint8Array, bytes: number): FileMeta {
  const trailer = Buffer.from(bytesAtEnd.buffer, bytesAtEnd.byteOffset, bytesAtEnd.length);
  if (trailer.length !== trailerBytes || magic.compare(trailer, 0, magic.length) !== 0) {
    throw new FarsideError(
      'EBADMSG',
      `the file of '${key}' is damaged: it does not end as a farside object does; delete it and resync`,
    );
  }
  const tagEnd = magic.length + tagBytes;
  return { bytes, etag: tagOf(trailer.subarray(magic.length, tagEnd)), uploadedAtMs: trailer.readDoubleBE(tagEnd) };
}

async function writeAll(file: number, parts: Uint8Array[]): Promise<void> {
  const totalBytes = parts.reduce((sum, part) => sum + part.length, 0);
  const writtenBytes =
    totalBytes <= inPlaceBytesMax ? fs.writevSync(file, parts) : (await writevAsync(file, parts)).bytesWritten;
  if (writtenBytes < totalBytes)
    throw new FarsideError('ENOSPC', `wrote ${writtenBytes} of ${totalBytes} bytes: is the disk full?`);
}

/** Exactly the range, which must lie within the file. */
async function readAt(file: number, { offset, length }: ByteRange, room?: Uint8Array): Promise<Uint8Array> {
  const isRoomy = room !== undefined && room.length >= length;
  const buffer = isRoomy ? room.subarray(0, length) : new Uint8Array(Buffer.allocUnsafeSlow(length).buffer); // not zeroed first
  for (let filledBytes = 0; filledBytes < length;) {
    const wantedBytes = length - filledBytes;
    const readBytes =
      length <= inPlaceBytesMax
        ? fs.readSync(file, buffer, filledBytes, wantedBytes, offset + filledBytes)
        : (await readAsync(file, buffer, filledBytes, wantedBytes, offset + filledBytes)).bytesRead;
    if (readBytes === 0) throw new FarsideError('EIO', 'an object file ended early: was it cut short?');
    filledBytes += readBytes;
  }
  return buffer;
}
