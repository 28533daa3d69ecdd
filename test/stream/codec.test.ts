// The stream formats against a real rbd's recordings, whatever way the bytes arrive in, and against damage.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import { ByteSource } from '../../lib/stream/byte-source.ts';
import { encodeDiffCount, encodeProperties, readDiffCount, readProperties } from '../../lib/stream/container.ts';
import type { DiffRecord, DiffVersion } from '../../lib/stream/diff-format.ts';
import { DiffReader } from '../../lib/stream/diff-reader.ts';
import { diffBanner, diffEnd, encodeRecord } from '../../lib/stream/diff-writer.ts';
import { mutated, mutations } from '../mutations.ts';
import { manifest, recorded, recordsOf, sha256, type FlatRecord } from './recorded.ts';

/** In parts of these lengths, again and again. */
async function* inParts(stream: Uint8Array, lengths: readonly number[] = [65_536]): AsyncGenerator<Uint8Array> {
  for (let at = 0, index = 0; at < stream.length; index++) {
    const length = lengths[index % lengths.length]!;
    yield stream.subarray(at, at + length);
    at += length;
  }
}

type Read = { record: DiffRecord; data: Buffer };

async function readAll(reader: DiffReader): Promise<Read[]> {
  const all: Read[] = [];
  for (;;) {
    const record = await reader.next();
    if (!record) return all;
    const parts: Uint8Array[] = [];
    while (reader.dataBytes > 0) parts.push(await reader.data(100_000));
    all.push({ record, data: Buffer.concat(parts) });
  }
}

/** As the manifest writes it; v2's declared lengths apart. */
const flat = ({ record, data }: Read): FlatRecord => {
  switch (record.type) {
    case 'from':
      return ['f', record.name];
    case 'to':
      return ['t', record.name];
    case 'protected':
      return ['p', record.isProtected ? '01' : '00'];
    case 'size':
      return ['s', record.sizeBytes];
    case 'zero':
      return ['z', record.offset, record.length];
    case 'write':
      return ['w', record.offset, record.length, sha256(data).slice(0, 16)];
  }
};

const encoded = (version: DiffVersion, reads: readonly Read[]): Buffer =>
  Buffer.concat([
    diffBanner(version),
    ...reads.flatMap(({ record, data }) => [encodeRecord(version, record), data]),
    diffEnd,
  ]);

const v1Files = manifest.streams.map(({ file }) => file).filter((file) => file.endsWith('.diff'));
const withoutDeclared = ([tag, _declared, ...fields]: FlatRecord): FlatRecord => [tag!, ...fields];
/** Small, with every tag of v1. */
const small = 's2-s3.diff';

test('the fixtures are what the manifest says', () => {
  for (const { file, sha256: sum } of manifest.streams) expect([file, sha256(recorded(file))]).toEqual([file, sum]);
});

describe('rbd’s streams', () => {
  test.each(v1Files)('%s reads as its records, and is written again byte for byte', async (file) => {
    const stream = recorded(file);
    const reads = await readAll(await DiffReader.open(new ByteSource(inParts(stream), 'EBADMSG'), [1]));
    expect([...reads.map(flat), ['e']]).toEqual(recordsOf(file));
    expect(encoded(1, reads).equals(stream)).toBe(true);
  });

  test('format 2: properties, number of diffs, and every diff', async () => {
    const source = new ByteSource(inParts(recorded('v2-s3.exp')), 'EDOM');
    const properties = await readProperties(source);
    expect(properties).toEqual({ order: 22, features: 61n, stripeUnitBytes: 4_194_304, stripeCount: 1, meta: [] });
    const diffs = recordsOf('v2-s3.exp').filter((item): item is FlatRecord[] => Array.isArray(item[0]));
    expect(await readDiffCount(source, 100)).toBe(diffs.length);
    for (const diff of diffs) {
      const reads = await readAll(await DiffReader.open(source, [2]));
      expect(reads.map(flat)).toEqual(diff.slice(0, -1).map(withoutDeclared));
    }
    expect(source.positionBytes).toBe(recorded('v2-s3.exp').length);
    const header = Buffer.concat([
      encodeProperties({ order: 22, features: 61n, stripeUnitBytes: 4_194_304, stripeCount: 1, meta: [] }),
      encodeDiffCount(diffs.length),
    ]);
    expect(header.equals(recorded('v2-s3.exp').subarray(0, header.length))).toBe(true);
  });

  test('the bytes may arrive in parts of any length', async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(lengths, async (parts) => {
        const reads = await readAll(
          await DiffReader.open(new ByteSource(inParts(recorded(small), parts), 'EDOM'), [1]),
        );
        expect([...reads.map(flat), ['e']]).toEqual(recordsOf(small));
      }),
      { numRuns: 50 },
    );
  });
});

const offsets = fc.nat({ max: 2 ** 40 });
const read: fc.Arbitrary<Read> = fc.oneof(
  fc.record({
    record: fc.record({ type: fc.constantFrom('from' as const, 'to' as const), name: fc.string({ unit: 'grapheme' }) }),
    data: fc.constant(Buffer.alloc(0)),
  }),
  fc.record({
    record: fc.record({ type: fc.constant('size' as const), sizeBytes: fc.maxSafeNat() }),
    data: fc.constant(Buffer.alloc(0)),
  }),
  fc.tuple(offsets, fc.nat()).map(([offset, length]) => ({
    record: { type: 'zero' as const, offset, length },
    data: Buffer.alloc(0),
  })),
  fc.tuple(offsets, fc.uint8Array({ maxLength: 200 })).map(([offset, data]) => ({
    record: { type: 'write' as const, offset, length: data.length },
    data: Buffer.from(data),
  })),
);

test.each([1, 2] as const)('v%i: what is written is read again', async (version) => {
  await fc.assert(
    fc.asyncProperty(fc.array(read), async (reads) => {
      const stream = encoded(version, reads);
      expect(await readAll(await DiffReader.open(new ByteSource(inParts(stream, [7, 64]), 'EDOM'), [version]))).toEqual(
        reads,
      );
    }),
    { numRuns: 100 },
  );
});

test('metadata of format 2 is read again', async () => {
  const meta: [string, string][] = [
    ['conf_rbd_cache', 'false'],
    ['schlüssel', ''],
  ];
  const written = { order: 16, features: 1n, stripeUnitBytes: 65_536, stripeCount: 1, meta };
  expect(await readProperties(new ByteSource(inParts(encodeProperties(written), [3]), 'EDOM'))).toEqual(written);
});

describe('what is no such stream', () => {
  const codeOf = async (stream: Uint8Array, versions: readonly DiffVersion[] = [1, 2]): Promise<string> => {
    try {
      await readAll(await DiffReader.open(new ByteSource(inParts(stream), 'EDOM'), versions));
      return 'read';
    } catch (error) {
      if (error instanceof FarsideError) return error.code;
      throw error;
    }
  };
  const v1 = (...fields: (string | number)[]): Buffer =>
    Buffer.concat([
      diffBanner(1),
      ...fields.map((field) => (typeof field === 'string' ? Buffer.from(field, 'latin1') : u64(field))),
    ]);
  const u64 = (value: number): Buffer => {
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(BigInt(value));
    return field;
  };

  test.each([
    ['nothing at all', Buffer.alloc(0), 'EDOM'],
    ['another banner', Buffer.from('rbd image v2\nabc'), 'EINVAL'],
    ['a banner of a version that is not asked for', diffBanner(2), 'EINVAL'],
    ['no end', diffBanner(1), 'EDOM'],
    ['an unknown tag', v1('x', 'e'), 'EBADMSG'],
    ['a tag of v2 only', v1('p\x01', 'e'), 'EBADMSG'],
    ['a name that is too long', v1('f\xff\xff\xff\xff'), 'EINVAL'],
    ['a name that is not UTF-8', v1('f\x01\x00\x00\x00\xff', 'e'), 'EINVAL'],
    ['a size beyond every image', v1('s\xff\xff\xff\xff\xff\xff\xff\xff', 'e'), 'EBADMSG'],
    [
      'a record that ends beyond every image',
      v1('z', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 'e'),
      'EBADMSG',
    ],
    ['data that is claimed and not there', v1('w', 0, 2 ** 50, 'a few bytes'), 'EDOM'],
  ])('%s', async (_, stream, code) => {
    expect(await codeOf(stream, [1])).toBe(code);
  });

  test('v2 skips unknown records by their length; what follows the end is not looked at', async () => {
    const known = encodeRecord(2, { type: 'size', sizeBytes: 5 });
    const unknown = Buffer.concat([Buffer.from('q'), u64(3), Buffer.from('abc')]);
    const stream = Buffer.concat([diffBanner(2), unknown, known, diffEnd, Buffer.from('trailing')]);
    const reads = await readAll(await DiffReader.open(new ByteSource(inParts(stream), 'EDOM'), [2]));
    expect(reads.map(flat)).toEqual([['s', 5]]);
  });

  test('every cut of a stream is noticed', async () => {
    const stream = recorded(small);
    for (let length = 0; length < stream.length; length++)
      expect(await codeOf(stream.subarray(0, length))).toBe('EDOM');
  });

  test('damage is refused, or reads as another stream; nothing worse', async () => {
    const header = encodeProperties({
      order: 22,
      features: 61n,
      stripeUnitBytes: 1,
      stripeCount: 1,
      meta: [['k', 'v']],
    });
    const container = Buffer.concat([
      header,
      encodeDiffCount(1),
      diffBanner(2),
      encodeRecord(2, { type: 'size', sizeBytes: 9 }),
      diffEnd,
    ]);
    const refusals = ['EDOM', 'EBADMSG', 'EINVAL', 'EFBIG'];
    await fc.assert(
      fc.asyncProperty(mutations, async (changes) => {
        expect(['read', ...refusals]).toContain(await codeOf(mutated(recorded(small), changes)));
        const source = new ByteSource(inParts(mutated(container, changes)), 'EDOM');
        const outcome = readProperties(source)
          .then(() => readDiffCount(source, 10))
          .then(() => DiffReader.open(source, [2]))
          .then(readAll)
          .then(
            () => 'read',
            (error: FarsideError) => error.code,
          );
        expect(['read', ...refusals]).toContain(await outcome);
      }),
      { numRuns: 300 },
    );
  });

  test('too much metadata is refused before it is all held', async () => {
    const meta: [string, string][] = Array.from({ length: 50 }, (_, index) => [`key ${index}`, 'x'.repeat(100_000)]);
    const stream = encodeProperties({ order: 22, features: 1n, stripeUnitBytes: 1, stripeCount: 1, meta });
    const source = new ByteSource(inParts(stream), 'EDOM');
    await expect(readProperties(source)).rejects.toMatchObject({ code: 'EFBIG' });
    expect(source.positionBytes).toBeLessThan(4_300_000);
  });
});
