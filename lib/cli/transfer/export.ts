// Owns the way of an image's content to the outside: a new, sparse file, or a stream with its zeros. Every byte is verified
// by the engine before it is written. Memory: the engine's windows, one batch, and a block of zeros.

import type { FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { Content } from '../../attach/read-only-image.ts';
import { FarsideError } from '../../errors.ts';
import { openHead } from '../../image/journal/fold.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import type { Header } from '../../image/header.ts';
import { findSnapshot } from '../../image/info.ts';
import { openStore, type PackStore } from '../../image/packs/pack-store.ts';
import { readExtents, type Piece } from '../../image/map/read.ts';
import type { Progress } from '../output/progress.ts';
import { send, withNewFile } from './sink.ts';

/** Data that is written to a file with one call. */
const batchBytesMax = 4 * 1024 * 1024;
const zeros = new Uint8Array(1024 * 1024);

/** ENOENT: no such pool, image or snapshot. EAGAIN: a replica that has no content yet, which is not an empty image. */
export async function openContent(deps: ImageDeps, spec: ImageSpec, snapId?: number): Promise<Content> {
  const { header, store } = await openReadable(deps, spec);
  const ref = snapId !== undefined ? { id: snapId } : spec.snap !== undefined ? { name: spec.snap } : undefined;
  const { root, sizeBytes } = ref ? findSnapshot(header, ref) : header;
  return { store, root, sizeBytes, objectBytes: header.objectBytes };
}

export type Readable = { header: Header; store: PackStore };

/** An image whose contents can be read. Throws as `openContent`. */
export async function openReadable(deps: ImageDeps, spec: ImageSpec): Promise<Readable> {
  const { value: header } = await openHead(deps, spec);
  if (header.mirror?.state === 'creating') throw notYetCopied(spec.image);
  return { header, store: openStore(deps, header) };
}

const notYetCopied = (image: string): FarsideError =>
  new FarsideError(
    'EAGAIN',
    `image ${image} is being copied here for the first time: there is nothing to read yet\n'farside mirror image status ${image}' tells how far it is`,
    { retry: 'later' },
  );

const pieces = ({ store, root, sizeBytes, objectBytes }: Content): AsyncGenerator<Piece> =>
  readExtents(store, root, objectBytes, { offset: 0, length: sizeBytes });

/** EEXIST: the file is there already. */
export const exportToFile = (content: Content, path: string, progress: Progress): Promise<void> =>
  withNewFile(path, (file) => fillFile(content, file, progress));

async function fillFile(content: Content, file: FileHandle, progress: Progress): Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  for await (const batch of batches(pieces(content))) {
    await writing; // the previous batch was written while this one was read
    writing = writeWhole(file, batch);
    writing.catch(() => {}); // thrown at the next await
    progress.update(batch.offset);
  }
  await writing;
  await file.truncate(content.sizeBytes);
  progress.update(content.sizeBytes);
}

type Batch = { offset: number; parts: Uint8Array[]; bytes: number };

/** Joins adjacent pieces of data; holes are left out. */
async function* batches(source: AsyncIterable<Piece>): AsyncGenerator<Batch> {
  let batch: Batch | undefined;
  for await (const piece of source) {
    if (!('data' in piece)) continue;
    if (batch && (batch.offset + batch.bytes !== piece.offset || batch.bytes >= batchBytesMax)) {
      yield batch;
      batch = undefined;
    }
    batch ??= { offset: piece.offset, parts: [], bytes: 0 };
    batch.parts.push(piece.data);
    batch.bytes += piece.data.length;
  }
  if (batch) yield batch;
}

/** A short write (a full disk, an odd file system) is continued until an error says why. */
async function writeWhole(file: FileHandle, batch: Batch): Promise<void> {
  const { bytesWritten } = await file.writev(batch.parts, batch.offset);
  if (bytesWritten === batch.bytes) return;
  const rest = Buffer.concat(batch.parts).subarray(bytesWritten);
  for (let written = 0; written < rest.length;) {
    written += (await file.write(rest, written, rest.length - written, batch.offset + bytesWritten + written))
      .bytesWritten;
  }
}

export async function exportToStream(content: Content, stream: Writable, progress: Progress): Promise<void> {
  for await (const piece of pieces(content)) {
    if ('data' in piece) await send(stream, piece.data);
    else await sendZeros(stream, piece.hole);
    progress.update(piece.offset);
  }
  progress.update(content.sizeBytes);
}

async function sendZeros(stream: Writable, length: number): Promise<void> {
  for (let sent = 0; sent < length; sent += zeros.length)
    await send(stream, zeros.subarray(0, Math.min(zeros.length, length - sent)));
}
