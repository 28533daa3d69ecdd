// Owns the way of a diff stream into an image. Nothing of it is visible before the end: a stream that fails in the middle
// leaves the image as it was.

import { FarsideError } from '../../errors.ts';
import type { Compression } from '../../image/format/codec.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { sizeBytesMax } from '../../image/header.ts';
import { userSnapshots, type Header } from '../../image/header.ts';
import { startDiffImport } from '../../image/imports/import-diff.ts';
import type { Patch } from '../../image/map/patch.ts';
import type { NewSnapshot } from '../../image/snapshots.ts';
import { ByteSource, type TruncatedCode } from '../../stream/byte-source.ts';
import { DiffReader, nextData, readDiffHead, type DiffHead } from '../../stream/diff-reader.ts';
import type { Progress } from '../output/progress.ts';
import type { Source } from './source.ts';

const pieceBytesMax = 1024 * 1024;

export type DiffImportOptions = { compression: Compression | undefined; progress: Pick<Progress, 'update'> };

/**
 * EROFS, ENOENT: of the image. EINVAL: no diff stream, its start is not in the image, or data beyond its end. EEXIST: its end
 * is there already. EBADMSG: it is cut off or damaged.
 * @returns the start snapshot's name, if the image had changed since
 */
export async function importDiff(
  deps: ImageDeps,
  spec: ImageSpec,
  source: Source,
  { compression, progress }: DiffImportOptions,
): Promise<string | undefined> {
  const running = await startDiffImport(deps, spec, { compression });
  return await withBytes(source, 'EBADMSG', async (bytes) => {
    const reader = await DiffReader.open(bytes, [1, 2]);
    const head = await readDiffHead(reader);
    checkHead(running.header, head);
    const sizeBytes = head.sizeBytes ?? running.header.sizeBytes;
    const patch = await running.begin();
    await applyData(patch, reader, { head, sizeBytes, progress });
    await running.finish(patch, sizeBytes, newSnapshot(head));
    progress.update(bytes.positionBytes);
    return movedSince(running.header, head.from);
  });
}

/** Lets go of the source in any case: a pipe that nobody reads would keep the process alive. */
export async function withBytes<T>(
  source: Source,
  truncatedCode: TruncatedCode,
  use: (bytes: ByteSource) => Promise<T>,
): Promise<T> {
  const bytes = new ByteSource(source.bytes(), truncatedCode);
  try {
    return await use(bytes);
  } finally {
    await bytes.close();
  }
}

export const newSnapshot = (head: DiffHead): NewSnapshot | undefined =>
  head.to === undefined ? undefined : { name: head.to, isProtected: head.isProtected };

/** In rbd's words. */
export function checkHead(header: Header, head: DiffHead): void {
  const hasSnapshot = (name: string): boolean => userSnapshots(header).some((one) => one.name === name);
  if (head.from !== undefined && !hasSnapshot(head.from))
    throw new FarsideError('EINVAL', `start snapshot '${head.from}' does not exist in the image, aborting`);
  if (head.to !== undefined && hasSnapshot(head.to))
    throw new FarsideError('EEXIST', `end snapshot '${head.to}' already exists, aborting`);
  if ((head.sizeBytes ?? 0) > sizeBytesMax)
    throw new FarsideError('EFBIG', `image size ${head.sizeBytes} is above the largest, 4 PiB`);
}

/** The stream is applied to the head, as rbd does; it was made against the start snapshot. */
function movedSince(header: Header, from: string | undefined): string | undefined {
  const start = userSnapshots(header).find((one) => one.name === from);
  if (!start || (start.root?.hash === header.root?.hash && start.sizeBytes === header.sizeBytes)) return undefined;
  return start.name;
}

/** What a stream says behind its head, up to its end. */
export async function applyData(
  patch: Patch,
  reader: DiffReader,
  { head, sizeBytes, progress }: { head: DiffHead; sizeBytes: number; progress: Pick<Progress, 'update'> },
): Promise<void> {
  for (let record = head.first; record; record = await nextData(reader)) {
    if (record.offset + record.length > sizeBytes) {
      throw new FarsideError(
        'EINVAL',
        `the stream has data up to byte ${record.offset + record.length} of an image of ${sizeBytes} bytes`,
      );
    }
    if (record.type === 'zero') await patch.zero(record.offset, record.length);
    for (let at = record.offset; reader.dataBytes > 0;) {
      const piece = await reader.data(pieceBytesMax);
      await patch.write(at, piece);
      at += piece.length;
      progress.update(reader.positionBytes);
    }
    progress.update(reader.positionBytes);
  }
}
