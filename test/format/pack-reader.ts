// The part of the second reader (reader.ts) that reads packs: section 3 of docs/format.md, of section 4 the node, and of
// section 6 what lies in a slot.

import { createHash } from 'node:crypto';
import { crc32, zstdDecompressSync } from 'node:zlib';

/** What a record of a pack's entry list says. */
export type Entry = {
  kind: 'block' | 'node' | 'events';
  encoding: number;
  rawBytes: number;
  encodedBytes: number;
  crc: number;
  imageOffset: number;
  hash: string;
  /** Where its bytes begin in this copy of the pack; undefined when the copy is sparse and leaves them out. */
  at: number | undefined;
};
export type Pack = { id: string; bytes: Buffer; entries: Entry[]; completeBytes: number };

export type Slot = { epoch: string; seq: number };
export type Reference = { pack: string; entry: number; entryCount: number; packBytes: number; slot?: Slot };
/** One change of a segment: without `entry`, a hole. */
export type Change = { begin: number; length: number; entry: number };
export type Extent = Reference & { begin: number; length: number; skip: number };
export type Child = Reference & { number: number; usedSectors: number };
export type Node = { level: number; extents: Extent[]; children: Child[] };

export const sectorBytes = 512;
const listStart = 16;
const recordBytes = 40;

export class Damage extends Error {}

export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Damage(what);
}

export const hash16 = (...parts: Uint8Array[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 32);
};

/** Section 3: the index of a copy of a pack, verified. */
export function parsePack(id: string, given: Uint8Array): Pack {
  const bytes = Buffer.from(given);
  check(bytes.length >= listStart, 'a pack is at least a prefix');
  check(bytes.toString('latin1', 0, 8) === 'farsideP', 'magic');
  check(bytes.readUInt16LE(8) === 1, 'version of the pack');
  check(bytes.readUInt16LE(10) === 0, 'reserved bytes of the prefix');
  const count = bytes.readUInt32LE(12);
  check(count >= 1 && count <= 1_048_576, 'number of entries');
  const bitmapStart = listStart + recordBytes * count;
  const crcStart = bitmapStart + Math.ceil(count / 8);
  check(bytes.length >= crcStart + 4, 'the index is whole');
  check(crc32(bytes.subarray(0, crcStart)) === bytes.readUInt32LE(crcStart), 'CRC of the index');
  check(hash16(bytes.subarray(listStart, bitmapStart)) === id, 'id of the pack');
  let at = crcStart + 4;
  let completeBytes = at;
  const entries: Entry[] = [];
  for (let number = 0; number < count; number++) {
    const record = bytes.subarray(listStart + recordBytes * number, listStart + recordBytes * (number + 1));
    const entry = parseRecord(record);
    const isPresent = ((bytes[bitmapStart + Math.floor(number / 8)]! >> (number % 8)) & 1) === 1;
    completeBytes += entry.encodedBytes;
    check(isPresent || entry.encodedBytes > 0, 'an entry without bytes is present');
    if (isPresent) {
      entry.at = at;
      at += entry.encodedBytes;
    }
    entries.push(entry);
  }
  check(at === bytes.length, 'the payload ends where the pack ends');
  check(bytes[crcStart - 1]! >> (((count - 1) % 8) + 1) === 0, 'bits without an entry are 0');
  return { id, bytes, entries, completeBytes };
}

function parseRecord(record: Buffer): Entry {
  const kind = ([undefined, 'block', 'node', 'events'] as const)[record[0]!];
  check(kind !== undefined, 'kind of an entry');
  const encoding = record[1]!;
  check(record.readUInt16LE(2) === 0, 'reserved bytes of a record');
  const rawBytes = record.readUInt32LE(4);
  check(rawBytes >= 1 && rawBytes <= (kind === 'block' ? 65_536 : 1_048_576), 'raw length of an entry');
  const encodedBytes = record.readUInt32LE(8);
  const fits = [encodedBytes === rawBytes, encodedBytes < rawBytes, encodedBytes === 0][encoding];
  check(fits === true, 'encoding and encoded length of an entry');
  check(kind === 'block' || encoding === 0, 'nodes and events are raw');
  return {
    kind,
    encoding,
    rawBytes,
    encodedBytes,
    crc: record.readUInt32LE(12),
    imageOffset: Number(record.readBigUInt64LE(16)),
    hash: record.toString('hex', 24, 40),
    at: undefined,
  };
}

/** The raw bytes of an entry, verified. */
export function entryContent(pack: Pack, number: number): Buffer {
  const entry = pack.entries[number];
  check(entry !== undefined, 'the entry exists');
  check(entry.at !== undefined, 'the entry is present');
  const encoded = pack.bytes.subarray(entry.at, entry.at + entry.encodedBytes);
  check(crc32(encoded) === entry.crc, 'CRC of an entry');
  const raw = decode(encoded, entry);
  check(raw.length === entry.rawBytes, 'raw length of what was decoded');
  check(hash16(raw) === entry.hash, 'hash of an entry');
  return raw;
}

function decode(encoded: Buffer, { encoding, rawBytes }: Entry): Buffer {
  if (encoding === 2) return Buffer.alloc(rawBytes);
  return encoding === 1 ? zstdDecompressSync(encoded, { maxOutputLength: rawBytes }) : encoded;
}

class ByteReader {
  private at = 0;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  take(count: number): Buffer {
    check(this.at + count <= this.bytes.length, 'a node goes on');
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  u8(): number {
    return this.take(1)[0]!;
  }

  varint(): number {
    let value = 0n;
    for (let group = 0n; group < 8n; group++) {
      const byte = this.u8();
      value += BigInt(byte & 0x7f) << (7n * group);
      check(value < 2n ** 53n, 'a varint is at most 2^53 - 1');
      if (byte < 0x80) return Number(value);
    }
    throw new Damage('a varint has at most 8 bytes');
  }

  signed(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  atEnd(): boolean {
    return this.at === this.bytes.length;
  }
}

function parseSlot(from: ByteReader): Slot | undefined {
  const mark = from.u8();
  check(mark <= 1, 'a slot is there or not');
  return mark === 0 ? undefined : { epoch: from.take(8).toString('hex'), seq: from.varint() };
}

/** Section 6: what a segment that was found in this slot does. */
export function parseEvents(pack: Pack, slot: Slot): Change[] {
  check(pack.entries[0]!.kind === 'events', 'entry 0 of a segment holds its events');
  const from = new ByteReader(entryContent(pack, 0));
  check(from.u8() === 1, 'version of the events');
  check(from.take(8).toString('hex') === slot.epoch && from.varint() === slot.seq, 'slot of a segment');
  for (let number = 0; number < 3; number++) from.varint(); // when it was sealed, requests before it, requests in it
  const changeCount = from.varint();
  const changes: Change[] = [];
  for (let number = 0, end = 0; number < changeCount; number++) {
    const begin = end + from.varint();
    const length = from.varint();
    check(length >= 1, 'a change has a length');
    end = begin + length;
    changes.push({ begin, length, entry: from.varint() });
  }
  check(from.atEnd(), 'nothing follows the changes');
  return changes;
}

const fenceBytes = 28;

/** Section 6: whether the object in this slot is a fence. */
export function isFence(bytes: Buffer, slot: Slot): boolean {
  if (bytes.length !== fenceBytes) return false;
  check(bytes.toString('latin1', 0, 8) === 'farsideF', 'magic of a fence');
  check(bytes.toString('hex', 8, 16) === slot.epoch, 'epoch of a fence');
  check(bytes.readUIntLE(16, 6) === slot.seq, 'number of a fence');
  check(bytes.readUInt32LE(24) === crc32(bytes.subarray(0, 24)), 'CRC of a fence');
  return true;
}

/** Section 4: a node that is an entry of the pack `self`. */
export function parseNode(raw: Buffer, self: Pack, objectBytes: number): Node {
  const from = new ByteReader(raw);
  const version = from.u8();
  check(version === 1 || version === 2, 'version of the node');
  const level = from.u8();
  check(level <= 7, 'level of the node');
  const table: (Omit<Reference, 'entry'> & { expected: number })[] = [];
  const packCount = from.varint();
  check(packCount >= 1, 'a node has packs');
  for (let number = 0; number < packCount; number++) {
    const pack = from.take(16).toString('hex');
    const [entryCount, packBytes] = [from.varint(), from.varint()];
    const isSelf = /^0+$/.test(pack);
    check(!isSelf || (entryCount === 0 && packBytes === 0), 'the own pack has no numbers');
    const own = { pack: self.id, entryCount: self.entries.length, packBytes: self.completeBytes };
    const slot = version === 2 ? parseSlot(from) : undefined;
    check(!isSelf || slot === undefined, 'the own pack has no slot');
    table.push({ ...(isSelf ? own : { pack, entryCount, packBytes }), ...(slot && { slot }), expected: 0 });
  }
  const reference = (): Reference => {
    const row = table[from.varint()];
    check(row !== undefined, 'the pack is in the table');
    const { expected, ...pack } = row;
    const entry = expected + from.signed();
    check(entry >= 0 && entry < pack.entryCount, 'the entry is one of the pack');
    row.expected = entry + 1;
    return { ...pack, entry };
  };
  const itemCount = from.varint();
  check(itemCount >= 1, 'a node has items');
  const node: Node = { level, extents: [], children: [] };
  for (let item = 0, end = 0; item < itemCount; item++) {
    const begin = end + from.varint();
    if (level === 0) {
      const length = from.varint();
      check(length >= 1, 'an extent has a length');
      end = begin + length;
      check(end <= objectBytes / sectorBytes, 'an extent lies within the leaf');
      node.extents.push({ begin, length, ...reference(), skip: from.varint() });
    } else {
      check(begin <= 255, 'a child is in one of 256 slots');
      end = begin + 1;
      node.children.push({ number: begin, ...reference(), usedSectors: from.varint() });
    }
  }
  check(from.atEnd(), 'nothing follows the items');
  return node;
}
