// Owns reading a diff stream, record by record: pulled by whoever uses it, so that a record of any length is never held.

import type { ByteSource } from './byte-source.ts';
import { damaged, diffBanners, diffTags, nameBytesMax, type DiffRecord, type DiffTag } from './diff-format.ts';
import type { DataRecord, DiffVersion } from './diff-format.ts';
import { readBanner, readBits, readByte, readInteger, readText } from './fields.ts';

const tagOfByte = new Map(Object.entries(diffTags).map(([tag, letter]) => [letter.charCodeAt(0), tag as DiffTag]));

export class DiffReader {
  readonly #source: ByteSource;
  readonly version: DiffVersion;
  #dataBytes = 0;
  #ended = false;

  /** @throws EINVAL another banner than those of `versions` */
  static async open(source: ByteSource, versions: readonly DiffVersion[]): Promise<DiffReader> {
    const found = await readBanner(
      source,
      versions.map((version) => diffBanners[version]),
    );
    return new DiffReader(source, found === diffBanners[1] ? 1 : 2);
  }

  private constructor(source: ByteSource, version: DiffVersion) {
    this.#source = source;
    this.version = version;
  }

  /** Bytes read so far, of this stream and what came before it. */
  get positionBytes(): number {
    return this.#source.positionBytes;
  }

  /** The next record; undefined at the end. What is left of a write's data is skipped. */
  async next(): Promise<DiffRecord | undefined> {
    if (this.#ended) return undefined;
    await this.#source.skip(this.#dataBytes);
    this.#dataBytes = 0;
    for (;;) {
      const byte = await readByte(this.#source);
      const tag = tagOfByte.get(byte);
      if (tag === 'end') {
        this.#ended = true;
        return undefined;
      }
      // rbd's declared lengths are not to be relied on (its `p` declares 8 and carries 1): only unknown records need them.
      const declared = this.version === 2 ? await readBits(this.#source) : undefined;
      if (tag && !(tag === 'protected' && this.version === 1)) return await this.#record(tag);
      if (declared === undefined || declared > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#unknown(byte);
      await this.#source.skip(Number(declared));
    }
  }

  /** Bytes of the current write that were not taken yet. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Some of the current write's data. Not to be called when none is left. */
  async data(byteCountMax: number): Promise<Uint8Array> {
    const part = await this.#source.some(Math.min(byteCountMax, this.#dataBytes));
    this.#dataBytes -= part.length;
    return part;
  }

  async skipData(byteCount: number): Promise<void> {
    await this.#source.skip(byteCount);
    this.#dataBytes -= byteCount;
  }

  async #record(tag: Exclude<DiffTag, 'end'>): Promise<DiffRecord> {
    const source = this.#source;
    switch (tag) {
      case 'from':
      case 'to':
        return { type: tag, name: await readText(source, 'a snapshot name', nameBytesMax) };
      case 'protected':
        return { type: tag, isProtected: (await readByte(source)) !== 0 };
      case 'size':
        return { type: tag, sizeBytes: await readInteger(source, 'size') };
      case 'write':
      case 'zero':
        return await this.#dataRecord(tag);
    }
  }

  async #dataRecord(type: 'write' | 'zero'): Promise<DataRecord> {
    const offset = await readInteger(this.#source, 'offset');
    const length = await readInteger(this.#source, 'length');
    if (!Number.isSafeInteger(offset + length)) throw damaged('a record ends out of range', this.positionBytes);
    if (type === 'write') this.#dataBytes = length;
    return { type, offset, length };
  }

  #unknown(byte: number): Error {
    return damaged(`unrecognized tag byte ${byte}`, this.positionBytes);
  }
}

/** What stands before the data of a stream, and the first record of data. */
export type DiffHead = {
  from: string | undefined;
  to: string | undefined;
  isProtected: boolean;
  sizeBytes: number | undefined;
  first: DataRecord | undefined;
};

export async function readDiffHead(reader: DiffReader): Promise<DiffHead> {
  const head: DiffHead = { from: undefined, to: undefined, isProtected: false, sizeBytes: undefined, first: undefined };
  for (;;) {
    const record = await reader.next();
    switch (record?.type) {
      case 'from':
        head.from = record.name;
        break;
      case 'to':
        head.to = record.name;
        break;
      case 'protected':
        head.isProtected = record.isProtected;
        break;
      case 'size':
        head.sizeBytes = record.sizeBytes;
        break;
      default:
        return { ...head, first: record };
    }
  }
}

/** The next record behind the head. */
export async function nextData(reader: DiffReader): Promise<DataRecord | undefined> {
  const record = await reader.next();
  if (record === undefined || record.type === 'write' || record.type === 'zero') return record;
  throw damaged('a header record stands behind data', reader.positionBytes);
}
