// The memory of an image in use: blocks that were read, what is read ahead, and what was written.

import { describe, expect, test } from 'vitest';
import { BlockRing } from '../../lib/attach/block-ring.ts';
import { ReadAhead } from '../../lib/attach/read-ahead.ts';
import { ReadRooms } from '../../lib/attach/read-rooms.ts';
import { Pieces, SegmentMemory } from '../../lib/attach/segment-memory.ts';
import { encodeEntry } from '../../lib/image/format/codec.ts';
import { parseEpochId } from '../../lib/image/ids.ts';
import { Rooms } from '../../lib/image/packs/open-pack.ts';
import { entryKind } from '../../lib/image/format/pack.ts';
import type { ByteSpan } from '../../lib/image/map/read.ts';
import { encodeSegment } from '../../lib/image/journal/segment.ts';
import { seededRandom } from '../image/model.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const block = (mark: number, length = 64 * KiB): Uint8Array => new Uint8Array(length).fill(mark);

describe('a ring of blocks', () => {
  test('gives back exactly what was put, of any sizes, or nothing', () => {
    const ring = new BlockRing(2 * MiB);
    const random = seededRandom(3);
    const lengths: number[] = [];
    const wrong: number[] = [];
    let found = 0;
    for (let at = 0; at < 400; at++) {
      lengths.push(512 * (1 + Math.floor(random.fraction() * 128)));
      ring.put(String(at), block(at % 251, lengths[at]));
      const asked = Math.floor(random.fraction() * at);
      const raw = ring.get(String(asked));
      found += raw ? 1 : 0;
      if (raw && Buffer.compare(raw, block(asked % 251, lengths[asked])) !== 0) wrong.push(asked);
    }
    expect(wrong).toEqual([]);
    expect(found).toBeGreaterThan(20);
    expect(found).toBeLessThan(390);
  });

  test('keeps the newest of what nobody asks for, and never more than it may', () => {
    const ring = new BlockRing(MiB);
    const keys = Array.from({ length: 64 }, (_, at) => String(at));
    for (const key of keys) ring.put(key, block(Number(key)));
    const kept = keys.filter((key) => ring.has(key));
    expect(kept.length).toBeLessThanOrEqual(16);
    expect(kept.length).toBeGreaterThanOrEqual(14);
    expect(kept.at(-1)).toBe('63');
    expect(kept).toEqual(keys.slice(-kept.length));
  });

  test('a block that is asked for again and again stays, whatever streams past it', () => {
    const ring = new BlockRing(2 * MiB);
    ring.put('hot', block(7, 4 * KiB));
    for (let at = 0; at < 500; at++) {
      ring.put(String(at), block(1));
      expect(ring.get('hot')?.[0]).toBe(7);
    }
  });

  test.each([0, 64 * KiB - 1])('of %d bytes keeps nothing', (bytes) => {
    const ring = new BlockRing(bytes);
    ring.put('a', block(1, 4 * KiB));
    expect(ring.get('a')).toBeUndefined();
  });
});

describe('reading ahead', () => {
  /** Tells of reads and gives what was fetched ahead of them. */
  const after = async (reads: readonly [number, number][], bytesMax = 4 * MiB): Promise<ByteSpan[]> => {
    const fetched: ByteSpan[] = [];
    const ahead = new ReadAhead(bytesMax, async (span) => void fetched.push(span));
    for (const [offset, length] of reads) {
      ahead.told({ offset, length });
      await new Promise((resolve) => setImmediate(resolve));
    }
    return fetched;
  };
  const sequence = (start: number, length: number, count: number): [number, number][] =>
    Array.from({ length: count }, (_, at) => [start + at * length, length]);

  test('a sequential reader gets everything behind its first two reads, once and without a gap', async () => {
    const fetched = await after(sequence(0, 256 * KiB, 64));
    expect(fetched[0]).toEqual({ offset: 512 * KiB, length: MiB });
    expect(Math.max(...fetched.map(({ length }) => length))).toBe(4 * MiB);
    let end = 512 * KiB;
    for (const { offset, length } of fetched) {
      expect(offset).toBe(end);
      end = offset + length;
    }
    expect(end).toBeGreaterThanOrEqual(64 * 256 * KiB);
  });

  test('several readers that take turns are read ahead of as one is', async () => {
    const readers = [0, 100 * MiB, 200 * MiB, 300 * MiB].map((start) => sequence(start, 256 * KiB, 16));
    const turns = readers[0]!.flatMap((_, turn) => readers.map((reads) => reads[turn]!));
    const fetched = await after(turns);
    const ahead = (start: number): ByteSpan[] =>
      fetched
        .filter(({ offset }) => offset >= start && offset < start + 100 * MiB)
        .map(({ offset, length }) => ({ offset: offset - start, length }));
    expect(ahead(0).length).toBeGreaterThan(2);
    for (const start of [100, 200, 300]) expect(ahead(start * MiB)).toEqual(ahead(0));
  });

  test('nothing is read ahead of who reads here and there, or with a limit of 0', async () => {
    const random = seededRandom(5);
    const places = Array.from({ length: 200 }, (): [number, number] => [
      Math.floor(random.fraction() * 2 ** 28) * 4096,
      4096,
    ]);
    expect(await after(places)).toEqual([]);
    expect(await after(sequence(0, 256 * KiB, 64), 0)).toEqual([]);
  });

  test('a few ranges at once and no more, and a failure stops nothing', async () => {
    let running = 0;
    const gate = Promise.withResolvers<void>();
    const ahead = new ReadAhead(MiB, async () => {
      running++;
      await gate.promise;
      running--;
      throw new Error('the bucket is away');
    });
    const tellAll = (from: number): void => {
      for (let reader = 0; reader < 10; reader++)
        for (const [offset, length] of sequence(reader * 100 * MiB + from, 64 * KiB, 2)) ahead.told({ offset, length });
    };
    tellAll(0);
    expect(running).toBe(4);
    gate.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    expect(running).toBe(0);
    tellAll(20 * MiB);
    expect(running).toBe(4);
  });
});

test('rooms for reading are used again, and are as large as asked for', () => {
  const rooms = new ReadRooms();
  const small = rooms.take(4096);
  rooms.give(small);
  expect(rooms.take(256 * KiB) === small).toBe(true);
  const huge = rooms.take(20 * MiB);
  expect(huge.length).toBe(20 * MiB);
  rooms.give(huge);
  expect(rooms.take(20 * MiB) === huge).toBe(false);
});

test('memory of a segment keeps copies of data of any length, and is used again when it is free', () => {
  let made = 0;
  const pieces = new Pieces((bytes) => {
    made++;
    return Buffer.alloc(bytes);
  });
  const keepAll = (memory: SegmentMemory, data: Uint8Array): Buffer => {
    const parts: Uint8Array[] = [];
    memory.keep(data, (part, at) => {
      expect(at).toBe(parts.reduce((sum, { length }) => sum + length, 0));
      parts.push(part);
    });
    return Buffer.concat(parts);
  };
  const memory = new SegmentMemory(pieces);
  const data = Buffer.from(seededRandom(9).bytes(5 * 512));
  const large = Buffer.concat(Array.from({ length: 1000 }, () => data));
  expect(keepAll(memory, data).equals(data)).toBe(true);
  expect(keepAll(memory, large).equals(large)).toBe(true);
  expect(made).toBe(4);
  memory.free();
  expect(keepAll(new SegmentMemory(pieces), large).equals(large)).toBe(true);
  expect(made).toBe(4);
});

test('what little a segment holds takes little memory: thousands may wait for a bucket that is away', () => {
  let madeBytes = 0;
  const pieces = new Pieces((bytes) => {
    madeBytes += bytes;
    return Buffer.alloc(bytes);
  });
  for (let count = 0; count < 1000; count++) new SegmentMemory(pieces).keep(block(1, 4 * KiB), () => {});
  expect(madeBytes).toBeLessThanOrEqual(1000 * 16 * KiB);
  const raw = block(1, 4 * KiB);
  const meta = { slot: { epoch: parseEpochId('00'.repeat(8)), seq: 0 }, sealedAtMs: 0, firstEntry: 0, entryCount: 1 };
  const changes = [{ offset: 0, length: raw.length, block: encodeEntry(entryKind.block, 0, raw, 'none') }];
  const { bytes } = encodeSegment(meta, changes, new Rooms(8 * MiB));
  expect(bytes.buffer.byteLength).toBeLessThanOrEqual(8 * KiB);
});
