// Owns the reading of secrets that the user hands over in a file or on standard input: tokens, keys.

import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { FarsideError } from '../../errors.ts';

/** A token is a few hundred bytes; a larger file is another one. */
const bytesMax = 64 * 1024;

/** The text without white space around it; undefined: too long for a secret. ENOENT, EACCES: the file cannot be read. */
export async function readSecret(path: string, stdin: Readable): Promise<string | undefined> {
  const text = path === '-' ? await readStream(stdin) : await readSecretFile(path);
  return text.length > bytesMax ? undefined : text.trim();
}

async function readSecretFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const isThere = !(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT');
    throw new FarsideError(isThere ? 'EACCES' : 'ENOENT', `error opening ${path}`, { cause });
  }
}

async function readStream(stream: Readable): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream) {
    parts.push(Buffer.from(part as Uint8Array | string));
    bytes += parts.at(-1)!.length;
    if (bytes > bytesMax) break;
  }
  return Buffer.concat(parts).toString('utf8');
}
