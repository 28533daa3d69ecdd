// Owns the pack format (docs/format.md, "Pack"): magic, version, entry list, presence bitmap, CRC, payload. Pure: no I/O.
//
// A pack's id is the hash of its entry list, so a reference (pack, entry) commits to the entry's content. A copy may be
// *sparse*: the list is always whole, the payload holds the entries whose presence bit is set. Parsing never trusts its
// input: whatever is wrong is a FarsideError EBADMSG.

import { FarsideError } from '../../errors.ts';
import { crc32, hash128, hashBytes } from './digest.ts';
import { parsePackId, type PackId } from '../ids.ts';

/** `events`: what one journal segment does to the image (segment.ts). */
export const entryKind = { block: 1, node: 2, events: 3 } as const;
export type EntryKind = (typeof entryKind)[keyof typeof entryKind];
export const encoding = { raw: 0, zstd: 1, zero: 2 } as const;
export type Encoding = (typeof encoding)[keyof typeof encoding];

/** One entry of a pack's list. `imageOffset` is where a block's data lies, or where the range that a node covers begins. */
export type Entry = {
  kind: EntryKind;
  encoding: Encoding;
  rawBytes: number;
  encodedBytes: number;
  crc: number;
  imageOffset: number;
  hash: Buffer;
};

const magic = Buffer.from('farsideP', 'latin1');
const version = 1;
const headBytes = 16;
const entryBytes = 40;
const crcBytes = 4;
export const blockBytesMax = 64 * 1024;
export const nodeBytesMax = 1024 * 1024;
export const eventsBytesMax = 1024 * 1024;

const rawBytesMaxOf: Readonly<Record<EntryKind, number>> = { 1: blockBytesMax, 2: nodeBytesMax, 3: eventsBytesMax };
/** Far above what any writer makes; keeps a damaged count from asking for absurd memory. */
export const entryCountMax = 1 << 20;
export const packBytesMax = 64 * 1024 * 1024;

const bitmapBytes = (entryCount: number): number => Math.ceil(entryCount / 8);

/** Bytes of a pack before its payload: all that is needed to find any entry. */
export const indexBytes = (entryCount: number): number =>
  headBytes + entryBytes * entryCount + bitmapBytes(entryCount) + crcBytes;

const bad = (what: string): FarsideError => new FarsideError('EBADMSG', `damaged pack: ${what}`);

/** A parsed pack index. Offsets are from the start of the object as stored (so of this copy, sparse or not). */
export class PackIndex {
  readonly packId: PackId;
  readonly entryCount: number;
  /** Bytes of this copy: index and payload. */
  readonly storedBytes: number;
  /** Bytes of a copy with every entry present. */
  readonly packBytes: number;
  readonly #list: Buffer;
  readonly #bitmap: Buffer;
  readonly #starts: Uint32Array;

  constructor(list: Buffer, bitmap: Buffer) {
    this.#list = list;
    this.#bitmap = bitmap;
    this.entryCount = list.length / entryBytes;
    this.packId = parsePackId(hash128(list).toString('hex'));
    this.#starts = new Uint32Array(this.entryCount);
    let at = indexBytes(this.entryCount);
    let full = at;
    for (let i = 0; i < this.entryCount; i++) {
      const length = list.readUInt32LE(i * entryBytes + 8);
      this.#starts[i] = at;
      if (this.isPresent(i)) at += length;
      full += length;
      if (full > packBytesMax) throw bad('its payload is larger than any pack');
    }
    this.storedBytes = at;
    this.packBytes = full;
  }

  isPresent(entryIndex: number): boolean {
    return ((this.#bitmap[entryIndex >> 3]! >> (entryIndex & 7)) & 1) === 1;
  }

  get isComplete(): boolean {
    return this.storedBytes === this.packBytes;
  }

  entry(entryIndex: number): Entry {
    const at = entryIndex * entryBytes;
    if (entryIndex < 0 || at >= this.#list.length) throw bad(`it has no entry ${entryIndex}`);
    return readEntry(this.#list, at);
  }

  /** The bytes that an entry's encoded form takes in this copy. Meaningful only when it is present. */
  range(entryIndex: number): { offset: number; length: number } {
    const length = this.#list.readUInt32LE(entryIndex * entryBytes + 8);
    return { offset: this.#starts[entryIndex]!, length };
  }

  /** The encoded bytes of a present entry, out of this whole copy. EBADMSG when the copy is cut off. */
  encoded(copy: Uint8Array, entryIndex: number): Uint8Array {
    const { offset, length } = this.range(entryIndex);
    if (offset + length > copy.length) throw bad('its payload is cut off');
    return copy.subarray(offset, offset + length);
  }

  /** The stored entry list, for making another copy of the same pack. */
  get list(): Buffer {
    return this.#list;
  }

  /** Approximate memory held, bytes. */
  get weightBytes(): number {
    return this.#list.length + this.#starts.byteLength + 200;
  }
}

function readEntry(list: Buffer, at: number): Entry {
  return {
    kind: list[at] as EntryKind,
    encoding: list[at + 1] as Encoding,
    rawBytes: list.readUInt32LE(at + 4),
    encodedBytes: list.readUInt32LE(at + 8),
    crc: list.readUInt32LE(at + 12),
    imageOffset: list.readUInt32LE(at + 16) + list.readUInt32LE(at + 20) * 2 ** 32,
    hash: list.subarray(at + 24, at + 24 + hashBytes),
  };
}

function writeEntry(list: Buffer, at: number, entry: Entry): void {
  list[at] = entry.kind;
  list[at + 1] = entry.encoding;
  list.writeUInt16LE(0, at + 2);
  list.writeUInt32LE(entry.rawBytes, at + 4);
  list.writeUInt32LE(entry.encodedBytes, at + 8);
  list.writeUInt32LE(entry.crc, at + 12);
  list.writeUInt32LE(entry.imageOffset % 2 ** 32, at + 16);
  list.writeUInt32LE(Math.floor(entry.imageOffset / 2 ** 32), at + 20);
  entry.hash.copy(list, at + 24, 0, hashBytes);
}

function checkEntry(entry: Entry, entryIndex: number): void {
  const rawBytesMax = rawBytesMaxOf[entry.kind] ?? 0;
  const encodedFits =
    entry.encoding === encoding.raw
      ? entry.encodedBytes === entry.rawBytes
      : entry.encoding === encoding.zstd
        ? entry.encodedBytes < entry.rawBytes
        : entry.encoding === encoding.zero && entry.encodedBytes === 0;
  if (
    entry.rawBytes === 0 ||
    entry.rawBytes > rawBytesMax ||
    !encodedFits ||
    !Number.isSafeInteger(entry.imageOffset)
  ) {
    throw bad(`entry ${entryIndex} is not one that any writer makes`);
  }
}

/** The entry count in the first bytes of a pack. */
export function parseEntryCount(head: Uint8Array): number {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  if (bytes.length < headBytes || !bytes.subarray(0, magic.length).equals(magic))
    throw bad('it does not begin with the magic bytes');
  if (bytes.readUInt16LE(8) !== version)
    throw bad(`its version is ${bytes.readUInt16LE(8)}, this farside reads ${version}`);
  const entryCount = bytes.readUInt32LE(12);
  if (entryCount === 0 || entryCount > entryCountMax) throw bad('its entry count is out of range');
  return entryCount;
}

/**
 * Parses the bytes before the payload (more may follow).
 * @param expected the id it must have: its key, or the reference that led here.
 */
export function parsePackIndex(data: Uint8Array, expected: PackId): PackIndex {
  const index = parseAnyPackIndex(data);
  if (index.packId !== expected) throw bad(`its entry list hashes to ${index.packId}, not to its id ${expected}`);
  return index;
}

/** The same where the key does not name the pack: whoever follows a reference to it compares the id. */
export function parseAnyPackIndex(data: Uint8Array): PackIndex {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const entryCount = parseEntryCount(bytes);
  const end = indexBytes(entryCount);
  if (bytes.length < end) throw bad('its index is cut off');
  if (crc32(bytes.subarray(0, end - crcBytes)) !== bytes.readUInt32LE(end - crcBytes))
    throw bad('its index does not match its CRC');
  const listEnd = headBytes + entryBytes * entryCount;
  const list = Buffer.from(bytes.subarray(headBytes, listEnd));
  for (let i = 0; i < entryCount; i++) checkEntry(readEntry(list, i * entryBytes), i);
  return new PackIndex(list, Buffer.from(bytes.subarray(listEnd, end - crcBytes)));
}

/** One entry on its way into a pack, with its encoded bytes (empty for `zero`). */
export type NewEntry = { entry: Entry; encoded: Uint8Array };

export type EncodedPack = { packId: PackId; bytes: Buffer; entryCount: number };

/** Makes a complete pack of the entries, in order. */
export function encodePack(entries: readonly NewEntry[]): EncodedPack {
  const list = Buffer.allocUnsafe(entryBytes * entries.length);
  entries.forEach(({ entry }, i) => writeEntry(list, i * entryBytes, entry));
  const bytes = assemble(list, (i) => entries[i]!.encoded);
  return { packId: parsePackId(hash128(list).toString('hex')), bytes, entryCount: entries.length };
}

/**
 * Makes a complete pack in place: the payload lies in `room` at `payloadStart` already, and the index is written right before
 * it. The result is a part of `room` when the index fits there, else a copy.
 */
export function sealPack(
  entries: readonly Entry[],
  room: Buffer,
  payloadStart: number,
  payloadBytes: number,
): EncodedPack {
  const list = Buffer.allocUnsafe(entryBytes * entries.length);
  entries.forEach((entry, i) => writeEntry(list, i * entryBytes, entry));
  const end = indexBytes(entries.length);
  const bytes =
    end <= payloadStart
      ? room.subarray(payloadStart - end, payloadStart + payloadBytes)
      : Buffer.concat([Buffer.allocUnsafe(end), room.subarray(payloadStart, payloadStart + payloadBytes)]);
  const bitmap = Buffer.alloc(bitmapBytes(entries.length), 0xff);
  if (entries.length % 8 !== 0) bitmap[bitmap.length - 1] = (1 << (entries.length % 8)) - 1;
  writeIndex(bytes, list, bitmap);
  return { packId: parsePackId(hash128(list).toString('hex')), bytes, entryCount: entries.length };
}

function writeIndex(bytes: Buffer, list: Buffer, bitmap: Buffer): void {
  const entryCount = list.length / entryBytes;
  const end = indexBytes(entryCount);
  magic.copy(bytes, 0);
  bytes.writeUInt16LE(version, 8);
  bytes.writeUInt16LE(0, 10);
  bytes.writeUInt32LE(entryCount, 12);
  list.copy(bytes, headBytes);
  bitmap.copy(bytes, headBytes + list.length);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, end - crcBytes)), end - crcBytes);
}

/**
 * Makes another copy of a pack: `payload(i)` gives the encoded bytes of entry i, or undefined where the copy is to lack it.
 * Entries without payload (`zero`) count as present.
 */
export function encodeCopy(index: PackIndex, payload: (entryIndex: number) => Uint8Array | undefined): Buffer {
  return assemble(index.list, payload);
}

function assemble(list: Buffer, payload: (entryIndex: number) => Uint8Array | undefined): Buffer {
  const entryCount = list.length / entryBytes;
  const bitmap = Buffer.alloc(bitmapBytes(entryCount));
  const parts: Uint8Array[] = [];
  let payloadBytes = 0;
  for (let i = 0; i < entryCount; i++) {
    const length = list.readUInt32LE(i * entryBytes + 8);
    const part = length === 0 ? undefined : payload(i);
    if (length > 0 && part === undefined) continue;
    bitmap[i >> 3]! |= 1 << (i & 7);
    if (part === undefined) continue;
    if (part.length !== length)
      throw new Error(`farside bug: entry ${i} has ${part.length} encoded bytes, its list says ${length}`);
    parts.push(part);
    payloadBytes += length;
  }
  const end = indexBytes(entryCount);
  const bytes = Buffer.allocUnsafe(end + payloadBytes);
  writeIndex(bytes, list, bitmap);
  let at = end;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
