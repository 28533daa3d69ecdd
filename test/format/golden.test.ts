// Bytes that the library must go on writing and reading as they are: buckets hold them. If one of these tests fails, the
// change breaks stored images; a new format needs a new version number, and a reader of both.

import { describe, expect, test } from 'vitest';

import { crc32, hash128 } from '../../lib/image/format/digest.ts';
import { parseEpochId, parsePackId } from '../../lib/image/ids.ts';
import { decodeNode, encodeNode, type Node } from '../../lib/image/format/node.ts';
import {
  encodeCopy,
  encodePack,
  encoding,
  entryKind,
  parsePackIndex,
  type Entry,
  type NewEntry,
} from '../../lib/image/format/pack.ts';
import { encodeFence } from '../../lib/image/format/fence.ts';
import { encodeSegment, parseSegment } from '../../lib/image/journal/segment.ts';
import { Damage, entryContent, isFence, parseEvents, parseNode, parsePack, type Pack } from './pack-reader.ts';

const objectBytes = 4 * 1024 * 1024;
const rawText = Buffer.from('sixteen bytes, 0');
const repeated = Buffer.alloc(512, 'farside ');
/** One zstd frame. A constant, as another release of zstd may compress otherwise. */
const repeatedZstd = Buffer.from('28b52ffd6000017d00004066617273696465200100f5530b17', 'hex');

const foreign = { packId: parsePackId('00112233445566778899aabbccddeeff'), entryCount: 300, packBytes: 1_234_567 };
const otherForeign = { ...foreign, packId: parsePackId('ff112233445566778899aabbccddeeff') };
const leaf: Node = {
  level: 0,
  extents: [
    { sector: 0, sectors: 1, pack: 'self', entry: 0, skip: 0 },
    { sector: 8, sectors: 1, pack: foreign, entry: 299, skip: 127 },
    { sector: 9, sectors: 200, pack: foreign, entry: 7, skip: 0 },
    { sector: 1000, sectors: 1, pack: 'self', entry: 1, skip: 0 },
  ],
  children: [],
};
const inner: Node = {
  level: 1,
  extents: [],
  children: [
    { slot: 0, pack: 'self', entry: 3, usedSectors: 203 },
    { slot: 255, pack: foreign, entry: 12, usedSectors: 65_536 },
  ],
};

/** White space parts the fields. */
const hex = (spaced: string): string => spaced.replaceAll(/\s/g, '');
const selfRow = `${'00'.repeat(16)}0000`;
const foreignRow = '00112233445566778899aabbccddeeffac0287ad4b';
const leafHex = hex(`01 00 02 ${selfRow} ${foreignRow} 04 0001000000 070101d6047f 00c80101c90400 970601000000`);
const innerHex = hex(`01 01 02 ${selfRow} ${foreignRow} 02 000006cb01 fe010118808004`);

function entryOf(
  kind: Entry['kind'],
  how: Entry['encoding'],
  imageOffset: number,
  raw: Buffer,
  encoded = raw,
): NewEntry {
  const entry = {
    kind,
    encoding: how,
    rawBytes: raw.length,
    encodedBytes: encoded.length,
    crc: crc32(encoded),
    imageOffset,
    hash: hash128(raw),
  };
  return { entry, encoded };
}

const entries = [
  entryOf(entryKind.block, encoding.raw, 0, rawText),
  entryOf(entryKind.block, encoding.zstd, 512_000, repeated, repeatedZstd),
  entryOf(entryKind.block, encoding.zero, 2 ** 40 + 4096, Buffer.alloc(4096), Buffer.alloc(0)),
  entryOf(entryKind.node, encoding.raw, 0, encodeNode(leaf)),
  entryOf(entryKind.node, encoding.raw, 0, encodeNode(inner)),
];
const raws = [rawText, repeated, Buffer.alloc(4096), Buffer.from(leafHex, 'hex'), Buffer.from(innerHex, 'hex')];

const slot = { epoch: parseEpochId('0123456789abcdef'), seq: 300 };
const bornInSlot: Node = {
  level: 0,
  extents: [
    { sector: 0, sectors: 1, pack: 'self', entry: 0, skip: 0 },
    { sector: 8, sectors: 1, pack: { ...foreign, slot }, entry: 299, skip: 127 },
    { sector: 9, sectors: 200, pack: otherForeign, entry: 7, skip: 0 },
  ],
  children: [],
};
const otherRow = 'ff112233445566778899aabbccddeeffac0287ad4b';
const slotRow = `${foreignRow} 01 0123456789abcdef ac02`;
const bornInSlotHex = hex(`02 00 03 ${selfRow} 00 ${slotRow} ${otherRow} 00 03 0001000000 070101d6047f 00c801020e00`);
/** Sealed at 1000 ms, behind 5 requests, with 2: a block of a sector at sector 2, and a hole of 128 sectors right behind. */
const eventsHex = hex('01 0123456789abcdef ac02 e807 05 02 02 020101 008001 00');
const fenceHex = hex('6661727369646546 0123456789abcdef 2c01000000000000 4b0708a3');

const packId = '2eba2d68f0d6f8031738fc4144a47f4e';
const listHex = `
  01 00 0000 10000000 10000000 7d135080 0000000000000000 fa2139b01423dfe5df0cc847ee1f1b9d
  01 01 0000 00020000 19000000 1d55e330 00d0070000000000 69edd318d19359ea108dcfa3b76257ad
  01 02 0000 00100000 00000000 00000000 0010000000010000 ad7facb2586fc6e966c004d7d1d16b02
  02 00 0000 43000000 43000000 0e625663 0000000000000000 b6a8d175febd55834c65490675e32b6d
  02 00 0000 37000000 37000000 5b941182 0000000000000000 858225fcaaec7bf5157b119c9cefab16
`;
const headHex = '6661727369646550 0100 0000 05000000';
const zstdHex = repeatedZstd.toString('hex');
const textHex = rawText.toString('hex');
const packHex = hex(`${headHex}${listHex}1f 17b232c9 ${textHex} ${zstdHex} ${leafHex} ${innerHex}`);
/** The same pack without its entries 1 and 4. */
const sparseHex = hex(`${headHex}${listHex}0d 5fc38b3a ${textHex} ${leafHex}`);

const readAll = (pack: Pack): Buffer[] => pack.entries.map((_, number) => entryContent(pack, number));

describe('golden bytes', () => {
  test('the library writes this pack', () => {
    const made = encodePack(entries);
    expect(made.bytes.toString('hex')).toBe(packHex);
    expect(made.packId).toBe(packId);
  });

  test('the library writes this sparse copy of it', () => {
    const whole = Buffer.from(packHex, 'hex');
    const index = parsePackIndex(whole, parsePackId(packId));
    const copy = encodeCopy(index, (i) => {
      const { offset, length } = index.range(i);
      return i === 1 || i === 4 ? undefined : whole.subarray(offset, offset + length);
    });
    expect(copy.toString('hex')).toBe(sparseHex);
  });

  test('the library writes and reads these map nodes', () => {
    expect(encodeNode(leaf).toString('hex')).toBe(leafHex);
    expect(encodeNode(inner).toString('hex')).toBe(innerHex);
    expect(decodeNode(Buffer.from(leafHex, 'hex'), objectBytes / 512)).toEqual(leaf);
    expect(decodeNode(Buffer.from(innerHex, 'hex'), objectBytes / 512)).toEqual(inner);
  });

  test('the library and the independent reader write and read this node of version 2', () => {
    expect(encodeNode(bornInSlot).toString('hex')).toBe(bornInSlotHex);
    const bytes = Buffer.from(bornInSlotHex, 'hex');
    expect(decodeNode(bytes, objectBytes / 512)).toEqual(bornInSlot);
    const pack = parsePack(packId, Buffer.from(packHex, 'hex'));
    expect(parseNode(bytes, pack, objectBytes).extents.map((extent) => [extent.pack, extent.slot])).toEqual([
      [packId, undefined],
      [foreign.packId, slot],
      [otherForeign.packId, undefined],
    ]);
  });

  test('the library and the independent reader write and read this segment', () => {
    const raw = Buffer.from(repeated);
    const made = encodeSegment({ slot, sealedAtMs: 1000, firstEntry: 5, entryCount: 2 }, [
      { offset: 1024, length: 512, block: entryOf(entryKind.block, encoding.zstd, 1024, raw, repeatedZstd) },
      { offset: 1536, length: 65_536 },
    ]);
    const pack = parsePack(made.segment.pack.packId, made.bytes);
    expect(entryContent(pack, 0).toString('hex')).toBe(eventsHex);
    expect(parseEvents(pack, slot)).toEqual([
      { begin: 2, length: 1, entry: 1 },
      { begin: 3, length: 128, entry: 0 },
    ]);
    expect(() => parseEvents(pack, { ...slot, seq: 301 })).toThrow(Damage);
    expect(parseSegment(made.bytes, slot)).toEqual(made.segment);
  });

  test('the library and the independent reader write and read this fence', () => {
    const bytes = encodeFence(slot);
    expect(bytes.toString('hex')).toBe(fenceHex);
    expect(isFence(bytes, slot)).toBe(true);
    expect(() => isFence(bytes, { ...slot, seq: 301 })).toThrow(Damage);
  });

  test('the independent reader reads the pack as the document says', () => {
    const pack = parsePack(packId, Buffer.from(packHex, 'hex'));
    expect(readAll(pack).map((raw) => raw.toString('hex'))).toEqual(raws.map((raw) => raw.toString('hex')));
    expect(pack.entries.map(({ imageOffset }) => imageOffset)).toEqual([0, 512_000, 2 ** 40 + 4096, 0, 0]);
    const sparse = parsePack(packId, Buffer.from(sparseHex, 'hex'));
    expect([0, 2, 3].map((number) => entryContent(sparse, number))).toEqual([raws[0], raws[2], raws[3]]);
    expect(() => entryContent(sparse, 1)).toThrow(Damage);
    expect(sparse.completeBytes).toBe(packHex.length / 2);
  });

  test('the independent reader reads the nodes as the document says', () => {
    const pack = parsePack(packId, Buffer.from(packHex, 'hex'));
    const self = { pack: packId, entryCount: 5, packBytes: packHex.length / 2 };
    const named = { pack: foreign.packId, entryCount: 300, packBytes: 1_234_567 };
    expect(parseNode(raws[3]!, pack, objectBytes).extents).toEqual([
      { begin: 0, length: 1, ...self, entry: 0, skip: 0 },
      { begin: 8, length: 1, ...named, entry: 299, skip: 127 },
      { begin: 9, length: 200, ...named, entry: 7, skip: 0 },
      { begin: 1000, length: 1, ...self, entry: 1, skip: 0 },
    ]);
    expect(parseNode(raws[4]!, pack, objectBytes).children).toEqual([
      { number: 0, ...self, entry: 3, usedSectors: 203 },
      { number: 255, ...named, entry: 12, usedSectors: 65_536 },
    ]);
  });

  test.each([
    ['whole', packHex],
    ['sparse', sparseHex],
  ])('any bit that flips in the %s pack is found', (_, stored) => {
    const accepted: number[] = [];
    for (let bit = 0; bit < stored.length * 4; bit++) {
      const bytes = Buffer.from(stored, 'hex');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      let isFound = false;
      try {
        const pack = parsePack(packId, bytes);
        for (const [number, entry] of pack.entries.entries()) if (entry.at !== undefined) entryContent(pack, number);
      } catch (error) {
        isFound = error instanceof Damage;
      }
      if (!isFound) accepted.push(bit);
    }
    expect(accepted).toEqual([]);
  });

  test('a pack that is cut off anywhere, or goes on, is rejected', () => {
    const whole = Buffer.from(packHex, 'hex');
    for (let length = 0; length < whole.length; length++)
      expect(() => parsePack(packId, whole.subarray(0, length)), `${length}`).toThrow(Damage);
    expect(() => parsePack(packId, Buffer.concat([whole, Buffer.alloc(1)]))).toThrow(Damage);
  });
});
