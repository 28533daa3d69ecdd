// Owns where an export goes: a file that is not there yet, or standard output.

import { once } from 'node:events';
import { open, rm, type FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { FarsideError } from '../../errors.ts';

export const stdoutPath = '-';

/** EEXIST: the file is there already. A file left unfinished is removed: it would look like a whole one. */
export async function withNewFile(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await createFile(path);
  try {
    await fill(file);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

async function createFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o644);
  } catch (cause) {
    const isThere = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST';
    if (isThere)
      throw new FarsideError('EEXIST', `${path} is there already: remove it, or export to another file`, { cause });
    throw cause;
  }
}

/** Writes parts one after another to a new file, or to `stdout` when `path` is `-`. */
export async function sendParts(path: string, stdout: Writable, parts: AsyncIterable<Uint8Array>): Promise<void> {
  if (path === stdoutPath) for await (const part of parts) await send(stdout, part);
  // Appends; a short write is continued.
  else
    await withNewFile(path, async (file) => {
      for await (const part of parts) await file.writeFile(part);
    });
}

export async function send(stream: Writable, data: Uint8Array): Promise<void> {
  if (!stream.write(data)) await once(stream, 'drain');
}
