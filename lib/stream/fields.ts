// Owns the fields of all stream formats: integers, names and banners, read with their limits checked before anything is
// allocated, and written.

import { FarsideError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';
import { damaged } from './diff-format.ts';

export async function readByte(source: ByteSource): Promise<number> {
  return (await source.exact(1))[0]!;
}

/** EBADMSG beyond 2^53 - 1, which no image reaches. */
export async function readInteger(source: ByteSource, what: string): Promise<number> {
  const value = await readBits(source);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(`${what} ${value} is out of range`, source.positionBytes);
  return Number(value);
}

export async function readBits(source: ByteSource): Promise<bigint> {
  return (await source.exact(8)).readBigUInt64LE();
}

/** UTF-8 behind its length (u32). EINVAL when longer than `bytesMax`, as rbd says of a name that is garbage. */
export async function readText(source: ByteSource, what: string, bytesMax: number): Promise<string> {
  const length = (await source.exact(4)).readUInt32LE();
  if (length > bytesMax)
    throw new FarsideError('EINVAL', `${what} of ${length} bytes in the stream: at most ${bytesMax} are allowed`);
  if (length === 0) return '';
  const bytes = await source.exact(length);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FarsideError('EINVAL', `${what} in the stream is not UTF-8`, { cause });
  }
}

/** EINVAL when something else stands there. */
export async function readBanner(source: ByteSource, banners: readonly string[]): Promise<string> {
  const longest = Math.max(...banners.map((banner) => banner.length));
  let found = '';
  while (found.length < longest && !banners.includes(found)) {
    found += String.fromCharCode(await readByte(source));
    if (!banners.some((banner) => banner.startsWith(found))) break;
  }
  if (banners.includes(found)) return found;
  const expected = banners.map((banner) => `'${banner.trim()}'`).join(' or ');
  throw new FarsideError('EINVAL', `invalid or unexpected banner: the stream does not begin with ${expected}`);
}

export function integerField(value: number | bigint): Buffer {
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(BigInt(value));
  return field;
}

export function textField(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}
