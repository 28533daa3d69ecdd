// Properties of what is pure in the format: integers, map nodes, packs and their sparse copies.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decodeEntry, encodeEntry } from '../../lib/image/format/codec.ts';
import { crc32, hash128 } from '../../lib/image/format/digest.ts';
import { parsePackId } from '../../lib/image/ids.ts';
import { decodeNode, encodeNode, type Node, type PackRef } from '../../lib/image/format/node.ts';
import {
  entryNumbers,
  entryRanges,
  mergeCopies,
  rangesOf,
  verifiedCopy,
  verifyWhole,
} from '../../lib/image/packs/pack-copy.ts';
import {
  encodeCopy,
  encodePack,
  encoding,
  entryKind,
  parsePackIndex,
  type NewEntry,
} from '../../lib/image/format/pack.ts';
import { ByteReader, ByteWriter } from '../../lib/image/format/varint.ts';

const integerMax = Number.MAX_SAFE_INTEGER;
const integers = fc.oneof(
  fc.maxSafeNat(),
  fc.integer({ min: 0, max: 53 }).map((bits) => 2 ** bits - 1),
  fc.integer({ min: 0, max: 52 }).map((bits) => 2 ** bits),
);

describe('varint', () => {
  test('integers from 0 to 2^53 - 1 come back, one after another, in at most 8 bytes each', () => {
    fc.assert(
      fc.property(fc.array(integers), (values) => {
        const out = new ByteWriter();
        for (const value of values) out.varint(value);
        const bytes = out.finish();
        const input = new ByteReader(bytes);
        expect(values.map(() => input.varint())).toEqual(values);
        expect(input.remaining).toBe(0);
        expect(bytes.length).toBeLessThanOrEqual(values.length * 8);
      }),
    );
  });

  test('signed differences come back', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 51), max: 2 ** 51 }), (value) => {
        const out = new ByteWriter();
        out.signed(value);
        expect(new ByteReader(out.finish()).signed()).toBe(value);
      }),
    );
  });

  test('what is too large or cut off is refused', () => {
    const read =
      (...bytes: number[]) =>
      () =>
        new ByteReader(Buffer.from(bytes)).varint();
    expect(read(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)()).toBe(integerMax);
    expect(read(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10)).toThrow(expect.objectContaining({ code: 'EBADMSG' }));
    expect(read(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0)).toThrow(
      expect.objectContaining({ code: 'EBADMSG' }),
    );
    expect(read(0x80)).toThrow(expect.objectContaining({ code: 'EBADMSG' }));
  });
});

const leafSectors = 8192;
const packIds = fc.uint8Array({ minLength: 16, maxLength: 16 }).filter((id) => id.some((byte) => byte !== 0));
const packRefs: fc.Arbitrary<PackRef> = fc.oneof(
  fc.constant('self' as const),
  fc.record({
    packId: packIds.map((id) => parsePackId(Buffer.from(id).toString('hex'))),
    entryCount: fc.integer({ min: 1, max: 1 << 20 }),
    packBytes: fc.integer({ min: 1, max: 64 * 1024 * 1024 }),
  }),
);
const picks = fc.record({
  pack: fc.nat(),
  entry: fc.nat(),
  gap: fc.nat({ max: 40 }),
  length: fc.integer({ min: 1, max: 128 }),
  last: fc.nat({ max: 1 << 20 }),
});

const nodes: fc.Arbitrary<Node> = fc
  .record({
    level: fc.integer({ min: 0, max: 7 }),
    table: fc.uniqueArray(packRefs, {
      minLength: 1,
      maxLength: 5,
      selector: (ref) => (ref === 'self' ? '' : ref.packId),
    }),
    items: fc.array(picks, { minLength: 1, maxLength: 40 }),
  })
  .map(({ level, table, items }) => {
    const node: Node = { level, extents: [], children: [] };
    let sector = 0;
    const slots = [...new Set(items.map(({ gap, length }) => (gap * 128 + length) % 256))].toSorted((a, b) => a - b);
    for (const [i, { pack: at, entry: number, gap, length, last }] of items.entries()) {
      const pack = table[at % table.length]!;
      const entry = number % (pack === 'self' ? 1 << 20 : pack.entryCount);
      if (level === 0) node.extents.push({ sector: sector + gap, sectors: length, pack, entry, skip: last % 128 });
      else if (i < slots.length) node.children.push({ slot: slots[i]!, pack, entry, usedSectors: last });
      sector += gap + length;
    }
    return node;
  });

describe('map nodes', () => {
  test('come back as they were encoded', () => {
    fc.assert(
      fc.property(nodes, (node) => {
        expect(decodeNode(encodeNode(node), leafSectors)).toEqual(node);
      }),
    );
  });

  test('are refused when they are cut off, go on, or have an extent beyond the leaf', () => {
    const refused = expect.objectContaining({ code: 'EBADMSG' });
    fc.assert(
      fc.property(nodes, fc.nat(), (node, cutAt) => {
        const bytes = encodeNode(node);
        expect(() => decodeNode(bytes.subarray(0, cutAt % bytes.length), leafSectors)).toThrow(refused);
        expect(() => decodeNode(Buffer.concat([bytes, Buffer.of(0)]), leafSectors)).toThrow(refused);
        const end = Math.max(1, ...node.extents.map(({ sector, sectors }) => sector + sectors));
        const narrow = encodeNode({
          ...node,
          level: 0,
          children: [],
          extents: [{ sector: end - 1, sectors: 2, pack: 'self', entry: 0, skip: 0 }],
        });
        expect(() => decodeNode(narrow, end)).toThrow(refused);
      }),
    );
  });
});

const rawBytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.integer({ min: 4096, max: 65_536 }).map((length) => Buffer.alloc(length, 'text that compresses well; ')),
);
const entries: fc.Arbitrary<NewEntry> = fc
  .record({
    kind: fc.constantFrom(entryKind.block, entryKind.node),
    imageOffset: fc.maxSafeNat(),
    raw: rawBytes,
    how: fc.constantFrom('auto', 'none', 'zero'),
  })
  .map(({ kind, imageOffset, raw, how }) =>
    how === 'zero' ? zeros(imageOffset, raw.length) : encodeEntry(kind, imageOffset, raw, how),
  );

function zeros(imageOffset: number, length: number): NewEntry {
  const encoded = Buffer.alloc(0);
  const hash = hash128(Buffer.alloc(length));
  return {
    entry: {
      kind: entryKind.block,
      encoding: encoding.zero,
      rawBytes: length,
      encodedBytes: 0,
      crc: crc32(encoded),
      imageOffset,
      hash,
    },
    encoded,
  };
}

const packs = fc.array(entries, { minLength: 1, maxLength: 20 });
/** A pack, and which of its entries each of two copies has. */
const packsAndChoices = packs.chain((list) => {
  const choice = fc.array(fc.boolean(), { minLength: list.length, maxLength: list.length });
  return fc.tuple(fc.constant(list), choice, choice);
});

function copyOf(list: readonly NewEntry[], chosen: readonly boolean[]): Buffer {
  const pack = encodePack(list);
  return encodeCopy(parsePackIndex(pack.bytes, pack.packId), (i) => (chosen[i] ? list[i]!.encoded : undefined));
}

describe('packs', () => {
  test('give back every entry, and know their sizes', () => {
    fc.assert(
      fc.property(packs, (list) => {
        const { packId, bytes, entryCount } = encodePack(list);
        const index = parsePackIndex(bytes, packId);
        expect(list.map((_, i) => index.entry(i))).toEqual(list.map(({ entry }) => entry));
        expect([index.entryCount, index.isComplete, index.storedBytes, index.packBytes]).toEqual([
          entryCount,
          true,
          bytes.length,
          bytes.length,
        ]);
        const raws = list.map(({ entry }, i) =>
          decodeEntry(entry, bytes.subarray(index.range(i).offset, index.range(i).offset + index.range(i).length)),
        );
        expect(raws.map((raw) => hash128(raw))).toEqual(list.map(({ entry }) => entry.hash));
      }),
    );
  });

  test('as sparse copies have the same id, and exactly the entries that were chosen', () => {
    fc.assert(
      fc.property(packsAndChoices, ([list, chosen]) => {
        const { packId, bytes } = encodePack(list);
        const copy = copyOf(list, chosen);
        const index = parsePackIndex(copy, packId);
        expect(list.map((_, i) => index.isPresent(i))).toEqual(
          list.map(({ encoded }, i) => encoded.length === 0 || chosen[i]!),
        );
        expect([index.storedBytes, index.packBytes]).toEqual([copy.length, bytes.length]);
        verifyWhole(index, copy);
      }),
    );
  });

  test('as copies made from a peer answer have what was wanted; its byte ranges hold it', () => {
    fc.assert(
      fc.property(packsAndChoices, fc.nat({ max: 500 }), ([list, chosen], gapBytesMax) => {
        const { packId, bytes } = encodePack(list);
        const wanted = entryRanges(
          list.flatMap((_, i) => (chosen[i] ? [i] : [])),
          list.length,
        );
        const index = parsePackIndex(bytes, packId);
        const sent = rangesOf(index, wanted, gapBytesMax);
        const body = (offset: number, length: number): Uint8Array => {
          expect(
            length === 0 ||
              sent.some((range) => range.offset <= offset && offset + length <= range.offset + range.length),
          ).toBe(true);
          return bytes.subarray(offset, offset + length);
        };
        expect(verifiedCopy(index, wanted, body).equals(copyOf(list, chosen))).toBe(true);
      }),
    );
  });

  test('merge into the union of their entries, in either order, and into nothing new twice', () => {
    fc.assert(
      fc.property(packsAndChoices, ([list, one, other]) => {
        const { packId } = encodePack(list);
        const [a, b] = [copyOf(list, one), copyOf(list, other)];
        const union = copyOf(
          list,
          one.map((isIn, i) => isIn || other[i]!),
        );
        const merged = mergeCopies(packId, a, b) ?? a;
        expect(merged.equals(union)).toBe(true);
        expect((mergeCopies(packId, b, a) ?? b).equals(union)).toBe(true);
        expect([mergeCopies(packId, a, a), mergeCopies(packId, merged, b), mergeCopies(packId, merged, a)]).toEqual([
          undefined,
          undefined,
          undefined,
        ]);
      }),
    );
  });

  test('have their entries named by ranges: numbers come back', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 40 })), fc.integer({ min: 41, max: 50 }), (given, entryCount) => {
        const numbers = given.toSorted((a, b) => a - b);
        expect(entryNumbers(entryRanges(numbers, entryCount), entryCount)).toEqual(numbers);
        const all = Array.from({ length: entryCount }, (_, i) => i);
        expect(entryRanges(all, entryCount)).toBe('all');
        expect(entryNumbers('all', entryCount)).toEqual(all);
      }),
    );
  });

  test('refuse ranges that no pack has before they are counted', () => {
    const huge = Number.MAX_SAFE_INTEGER;
    for (const wanted of [
      [[0, huge]],
      [[3, 3]],
      [[2, 1]],
      [
        [0, 1],
        [1, 2],
      ],
      [
        [1, 1],
        [0, 0],
      ],
    ] as [number, number][][]) {
      expect(() => entryNumbers(wanted, 3)).toThrow(expect.objectContaining({ code: 'EBADMSG' }));
    }
  });
});
