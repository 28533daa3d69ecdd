// Owns the way of outside content into an image: from a source to the engine, chunk by chunk. Nothing is visible before
// the end, and a run that was interrupted is continued by the next.

import type { Compression } from '../../image/format/codec.ts';
import type { AskedCreation } from '../../image/options.ts';
import type { ImageDeps, ImageSpec } from '../../image/deps.ts';
import { startImport, type ImportResult } from '../../image/imports/import.ts';
import type { Progress } from '../output/progress.ts';
import type { Source } from './source.ts';

export type ImportOptions = AskedCreation & { update: boolean; compression: Compression | undefined };

/** Smaller pieces would cost more in calls than they save in memory. */
const chunkBytesMin = 4 * 1024 * 1024;

/** Chunks on their way into packs: enough for every thread to have one while others are placed. */
const writesMax = 5;

export async function importImage(
  deps: ImageDeps,
  spec: ImageSpec,
  source: Source,
  options: ImportOptions & { progress: Progress },
): Promise<ImportResult> {
  const { progress, ...importOptions } = options;
  const running = await startImport(deps, spec, importOptions);
  const chunkBytes = Math.ceil(chunkBytesMin / running.chunkBytes) * running.chunkBytes;
  let endBytes = 0;
  const writing: Promise<void>[] = [];
  for await (const { offset, data, release } of source.chunks(chunkBytes)) {
    endBytes = offset + data.length;
    const written = endBytes;
    const write = running.write(offset, data).then(() => {
      release();
      progress.update(written);
    });
    write.catch(() => {}); // thrown when it is waited for, below
    if (writing.push(write) >= writesMax) await writing.shift();
  }
  await Promise.all(writing);
  // A file may have grown or shrunk while it was read: what was read counts, unless the rest is a hole.
  const sizeBytes = endBytes === 0 ? (source.sizeBytes ?? 0) : endBytes;
  const result = await running.finish(sizeBytes);
  progress.update(sizeBytes);
  return result;
}
