// Data from outside (the bucket, a peer) that is damaged, cut off or malicious: parsers refuse it with EBADMSG, at once and
// without asking for absurd memory. They never crash, hang, or give something else for what was stored.

import { zstdCompressSync } from 'node:zlib';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FarsideError } from '../../lib/errors.ts';
import { decodeEntry, encodeEntry } from '../../lib/image/format/codec.ts';
import { crc32, hash128 } from '../../lib/image/format/digest.ts';
import { parsePackId } from '../../lib/image/ids.ts';
import { decodeNode, encodeNode, type Node } from '../../lib/image/format/node.ts';
import { verifyWhole } from '../../lib/image/packs/pack-copy.ts';
import { encodePack, encoding, entryKind, parsePackIndex } from '../../lib/image/format/pack.ts';
import { ByteWriter } from '../../lib/image/format/varint.ts';
import { manifestSchema, messageSchema, type Manifest } from '../../lib/mirror/messages.ts';
import { mutated, mutations, type Mutation } from '../mutations.ts';
import { seededRandom } from './model.ts';

const leafSectors = 8192;
const damage = expect.objectContaining({ code: 'EBADMSG' }) as FarsideError;

/** What a parser did: gave something, refused with EBADMSG, or anything worse. */
function outcomeOf<T>(parse: () => T): { given: T } | 'refused' {
  try {
    return { given: parse() };
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'EBADMSG') return 'refused';
    throw error;
  }
}

const foreign = { packId: parsePackId('00112233445566778899aabbccddeeff'), entryCount: 300, packBytes: 1_234_567 };
const leaf: Node = {
  level: 0,
  extents: [
    { sector: 0, sectors: 1, pack: 'self', entry: 0, skip: 0 },
    { sector: 8, sectors: 200, pack: foreign, entry: 299, skip: 127 },
    { sector: 1000, sectors: 1, pack: foreign, entry: 7, skip: 0 },
  ],
  children: [],
};
const inner: Node = {
  level: 2,
  extents: [],
  children: [3, 4, 200].map((slot) => ({ slot, pack: foreign, entry: slot, usedSectors: 70_000 })),
};

const text = Buffer.alloc(5000, 'compressible; ');
const packEntries = [
  encodeEntry(entryKind.block, 0, seededRandom(1).bytes(600), 'none'),
  encodeEntry(entryKind.block, 65_536, text, 'auto'),
  encodeEntry(entryKind.node, 0, encodeNode(leaf), 'none'),
];
const pack = encodePack(packEntries);
const listBytes = 40 * packEntries.length;

/** A pack with its list changed and CRC and id made right again, as a malicious peer could send it. */
function resealed(changes: readonly Mutation[]): { packId: string; bytes: Buffer } {
  const bytes = Buffer.from(pack.bytes);
  for (const { at, value } of changes) bytes[16 + (at % listBytes)] = value;
  const end = 16 + listBytes + 1;
  bytes.writeUInt32LE(crc32(bytes.subarray(0, end)), end);
  return { packId: hash128(bytes.subarray(16, 16 + listBytes)).toString('hex'), bytes };
}

/** Bytes that a call asks for, roughly. */
function allocatedBy(work: () => unknown): number {
  const before = process.memoryUsage();
  outcomeOf(work);
  const after = process.memoryUsage();
  return after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
}

describe('a pack from outside', () => {
  test('that was changed anywhere is refused', () => {
    fc.assert(
      fc.property(mutations, (changes) => {
        const bytes = mutated(pack.bytes, changes);
        fc.pre(!bytes.equals(pack.bytes));
        const read = (): void => verifyWhole(parsePackIndex(bytes, pack.packId), bytes);
        expect(read).toThrow(damage);
      }),
      { numRuns: 2000 },
    );
  });

  test('made of random bytes is refused, also behind a good head', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat({ max: 16 }), (random, headBytes) => {
        const bytes = Buffer.concat([pack.bytes.subarray(0, headBytes), random]);
        expect(() => parsePackIndex(bytes, pack.packId)).toThrow(damage);
      }),
      { numRuns: 1000 },
    );
  });

  test('of which the list is changed and sealed again gives verified entries or is refused', () => {
    fc.assert(
      fc.property(mutations, (changes) => {
        const { packId, bytes } = resealed(changes);
        const read = (): void => {
          const index = parsePackIndex(bytes, parsePackId(packId));
          for (let i = 0; i < index.entryCount; i++) {
            const { offset, length } = index.range(i);
            const raw = decodeEntry(index.entry(i), bytes.subarray(offset, offset + length));
            expect(hash128(raw)).toEqual(index.entry(i).hash);
          }
        };
        outcomeOf(read);
        outcomeOf(() => verifyWhole(parsePackIndex(bytes, parsePackId(packId)), bytes));
      }),
      { numRuns: 2000 },
    );
  });

  test('that claims a huge number of entries is refused without room being made for them', () => {
    for (const entryCount of [0, 1000, 1 << 20, (1 << 20) + 1, 2 ** 31, 2 ** 32 - 1]) {
      const bytes = Buffer.from(pack.bytes);
      bytes.writeUInt32LE(entryCount, 12);
      expect(() => parsePackIndex(bytes, pack.packId)).toThrow(damage);
      expect(allocatedBy(() => parsePackIndex(bytes, pack.packId))).toBeLessThan(1 << 20);
    }
  });

  test('with a block that decompresses to more than it says is refused', () => {
    const bomb = zstdCompressSync(Buffer.alloc(32 * 1024 * 1024));
    const entry = {
      kind: entryKind.block,
      encoding: encoding.zstd,
      rawBytes: 65_536,
      encodedBytes: bomb.length,
      crc: crc32(bomb),
      imageOffset: 0,
      hash: hash128(bomb),
    };
    expect(() => decodeEntry(entry, bomb)).toThrow(damage);
    expect(allocatedBy(() => decodeEntry(entry, bomb))).toBeLessThan(4 << 20);
  });
});

/** A node as decoded is one that a writer could have made: in order, in range, of known packs. */
function assertSane(node: Node): void {
  let end = 0;
  for (const { sector, sectors, entry, pack: of } of node.extents) {
    expect(sector >= end && sectors > 0 && entry >= 0 && entry < (of === 'self' ? Infinity : of.entryCount)).toBe(true);
    end = sector + sectors;
  }
  expect(end).toBeLessThanOrEqual(leafSectors);
  const slots = node.children.map(({ slot }) => slot);
  expect(slots.every((slot, i) => slot > (slots[i - 1] ?? -1) && slot < 256)).toBe(true);
  expect(node.extents.length + node.children.length).toBeGreaterThan(0);
  expect(node.level === 0 ? node.children : node.extents).toEqual([]);
}

describe('a map node from outside', () => {
  test('that was changed is refused, or is one that could have been written', () => {
    fc.assert(
      fc.property(fc.constantFrom(leaf, inner), mutations, (node, changes) => {
        const bytes = mutated(encodeNode(node), changes);
        const outcome = outcomeOf(() => decodeNode(bytes, leafSectors));
        for (const { given } of outcome === 'refused' ? [] : [outcome]) {
          assertSane(given);
          expect(decodeNode(encodeNode(given), leafSectors)).toEqual(given);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('made of random bytes is refused, or is one that could have been written', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: 60 }), (random, headBytes) => {
        const bytes = Buffer.concat([encodeNode(leaf).subarray(0, headBytes), random]);
        const outcome = outcomeOf(() => decodeNode(bytes, leafSectors));
        for (const { given } of outcome === 'refused' ? [] : [outcome]) assertSane(given);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([1 << 20, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER])(
    'that claims %d packs, items, or entries is refused without room being made',
    (huge) => {
      const claims = (packCount: number, entryCount: number, packBytes: number, itemCount: number): Buffer => {
        const out = new ByteWriter();
        out.raw(Buffer.of(1, 0));
        out.varint(packCount);
        out.raw(Buffer.from(foreign.packId, 'hex'));
        for (const value of [entryCount, packBytes, itemCount, 0, 1, 0, 0, 0]) out.varint(value);
        return out.finish();
      };
      const nodes = [
        claims(huge, 1, 1, 1),
        claims(1, 1, 1, huge),
        claims(1, huge + 1, 1, 1),
        claims(1, 1, huge * 64 + 1, 1),
      ];
      for (const bytes of nodes) {
        expect(() => decodeNode(bytes, leafSectors)).toThrow(damage);
        expect(allocatedBy(() => decodeNode(bytes, leafSectors))).toBeLessThan(1 << 20);
      }
    },
  );
});

const root = {
  pack: pack.packId,
  entry: 2,
  entryCount: 3,
  packBytes: pack.bytes.length,
  level: 0,
  hash: pack.packId,
  usedBytes: 512,
};
const manifest: Manifest = {
  version: 1,
  deltaId: 'delta',
  step: 0,
  wanted: [root],
  held: [],
  pieces: [
    { bytes: 5, packs: [{ pack: pack.packId, entryCount: 3, packBytes: 700, payloadBytes: 5, entries: [[0, 1]] }] },
  ],
  piecesSoFar: 1,
  bytesSoFar: 5,
  next: null,
};

describe('JSON from outside', () => {
  test('that was changed parses to a manifest that means itself, or is refused', () => {
    fc.assert(
      fc.property(mutations, (changes) => {
        const bytes = mutated(Buffer.from(JSON.stringify(manifest)), changes);
        let value: unknown;
        try {
          value = JSON.parse(bytes.toString());
        } catch {
          value = undefined;
        }
        const parsed = manifestSchema.safeParse(value);
        expect(parsed.success ? manifestSchema.parse(structuredClone(parsed.data)) : parsed.data).toEqual(parsed.data);
      }),
      { numRuns: 1500 },
    );
  });

  test('of any shape is no manifest and no message, and says so', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(manifestSchema.safeParse(value).success).toBe(false);
        expect(messageSchema.safeParse(value).success).toBe(false);
      }),
    );
  });
});
