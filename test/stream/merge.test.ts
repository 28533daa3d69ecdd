// merge-diff against rbd's own, and against what two streams do one after the other.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteSource } from '../../lib/stream/byte-source.ts';
import type { DataRecord } from '../../lib/stream/diff-format.ts';
import { DiffReader } from '../../lib/stream/diff-reader.ts';
import { diffEnd, encodeHead, encodeRecord } from '../../lib/stream/diff-writer.ts';
import { mergeDiffs } from '../../lib/stream/merge.ts';
import { applied, decodeDiff, recorded, sha256, manifest } from './recorded.ts';

async function* whole(stream: Uint8Array): AsyncGenerator<Uint8Array> {
  yield stream;
}
const open = (stream: Uint8Array): Promise<DiffReader> => DiffReader.open(new ByteSource(whole(stream), 'EDOM'), [1]);

async function merged(first: Uint8Array, second: Uint8Array): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of mergeDiffs(await open(first), await open(second))) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

type Change = { type: 'write' | 'zero'; gap: number; length: number; byte: number };
type Step = { sizeBytes: number; changes: Change[] };

/** A stream of records that ascend and lie within the image. */
function streamOf({ sizeBytes, changes }: Step, from: string | undefined, to: string): Buffer {
  const parts: Buffer[] = [encodeHead(1, { from, to, sizeBytes })];
  let at = 0;
  for (const { type, gap, length, byte } of changes) {
    const offset = at + gap;
    if (offset + length > sizeBytes) break;
    const record: DataRecord = { type, offset, length };
    parts.push(encodeRecord(1, record), type === 'write' ? Buffer.alloc(length, byte) : Buffer.alloc(0));
    at = offset + length;
  }
  return Buffer.concat([...parts, diffEnd]);
}

const step: fc.Arbitrary<Step> = fc.record({
  sizeBytes: fc.integer({ min: 0, max: 200 }),
  changes: fc.array(
    fc.record({
      type: fc.constantFrom('write' as const, 'zero' as const),
      gap: fc.nat({ max: 30 }),
      length: fc.integer({ min: 1, max: 40 }),
      byte: fc.integer({ min: 1, max: 255 }),
    }),
    { maxLength: 8 },
  ),
});

describe('merging', () => {
  test('gives byte for byte what rbd gives', async () => {
    const stream = await merged(recorded('s1-s2.diff'), recorded('s2-s3.diff'));
    expect(sha256(stream)).toBe(manifest.streams.find(({ file }) => file.startsWith('merge'))!.sha256);
  });

  test('the merged stream does what both do one after the other, also where the image shrinks and grows', async () => {
    const start = fc.uint8Array({ minLength: 0, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(start, step, step, async (image, first, second) => {
        const [a, b] = [streamOf(first, 's0', 's1'), streamOf(second, 's1', 's2')];
        const stream = await merged(a, b);
        const { records, bytes } = decodeDiff(stream);
        expect(bytes).toBe(stream.length);
        const expected = [a, b].reduce(
          (content, diff) => applied(content, decodeDiff(diff).records),
          Buffer.from(image),
        );
        expect(applied(Buffer.from(image), records).equals(expected)).toBe(true);
        const offsets = records.flatMap(({ record }) => (record[0] === 'w' || record[0] === 'z' ? [record[1]] : []));
        expect(offsets).toEqual([...offsets].toSorted((x, y) => Number(x) - Number(y)));
      }),
      { numRuns: 500 },
    );
  });

  test('merging is associative in what it does', async () => {
    const [a, b, c] = [recorded('full-s1.diff'), recorded('s1-s2.diff'), recorded('s2-s3.diff')];
    const stream = await merged(await merged(a, b), c);
    const content = applied(Buffer.alloc(0), decodeDiff(stream).records);
    expect(sha256(content)).toBe(manifest.snapshots['s3']!.sha256);
  });

  test.each([
    ['streams that do not follow each other', recorded('s1-s2.diff'), recorded('s1-s3.diff'), 'EINVAL'],
    ['a second one from the beginning', recorded('s1-s2.diff'), recorded('full-s3.diff'), 'EINVAL'],
    ['an empty second one', recorded('s1-s2.diff'), Buffer.alloc(0), 'EDOM'],
    ['a second one that is cut off', recorded('s1-s2.diff'), recorded('s2-s3.diff').subarray(0, -1), 'EDOM'],
    ['a first one that is cut off', recorded('s1-s2.diff').subarray(0, 100_000), recorded('s2-s3.diff'), 'EDOM'],
  ])('%s: refused', async (_, first, second, code) => {
    await expect(merged(first, second)).rejects.toMatchObject({ code });
  });

  test('streams without a size, and with offsets that do not ascend: refused', async () => {
    const [first, second] = [recorded('s1-s2.diff'), recorded('s2-s3.diff')];
    const sized = second.subarray(0, 12 + 2 * 7);
    await expect(merged(first, Buffer.concat([sized, diffEnd]))).rejects.toMatchObject({ code: 'EINVAL' });
    const backwards = [4096, 0].map((offset) => encodeRecord(1, { type: 'zero', offset, length: 512 }));
    const stream = Buffer.concat([second.subarray(0, 12 + 2 * 7 + 9), ...backwards, diffEnd]);
    await expect(merged(first, stream)).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
  });
});
