// Patches against bytes in memory: any ranges in any order. And what the maps then say has changed, against what has.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openHeader } from '../../lib/image/access.ts';
import { changedRanges, type ChangedRange } from '../../lib/image/map/changes.ts';
import { isZero } from '../../lib/image/format/digest.ts';
import type { Header } from '../../lib/image/header.ts';
import { createImage } from '../../lib/image/images.ts';
import { startDiffImport } from '../../lib/image/imports/import-diff.ts';
import { memorySite, openStore, readImage, spec, type MemorySite } from './model.ts';

const objectBytes = 16 * 1024;

type Operation = { type: 'write' | 'zero'; offset: number; length: number; byte: number };
type Step = { sizeBytes: number; operations: Operation[] };

const size = fc.oneof(
  fc.nat({ max: 5 * objectBytes }),
  fc.nat({ max: 160 }).map((sectors) => sectors * 512),
);
const operation: fc.Arbitrary<Operation> = fc.record({
  type: fc.constantFrom('write' as const, 'write' as const, 'zero' as const),
  offset: size,
  length: fc.oneof(fc.nat({ max: 1500 }), fc.nat({ max: 3 * objectBytes })),
  byte: fc.integer({ min: 0, max: 255 }),
});
const step: fc.Arbitrary<Step> = fc.record({ sizeBytes: size, operations: fc.array(operation, { maxLength: 12 }) });

/** Content that differs from sector to sector. */
function dataOf({ offset, length, byte }: Operation): Buffer {
  const data = Buffer.alloc(length);
  for (let i = 0; byte !== 0 && i < length; i++) data[i] = (offset + i) * byte;
  return data;
}

async function patchImage(deps: MemorySite, { sizeBytes, operations }: Step): Promise<void> {
  const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
  const patch = await running.begin();
  for (const one of operations) {
    const length = Math.max(0, Math.min(one.length, sizeBytes - one.offset));
    if (one.type === 'zero') await patch.zero(one.offset, length);
    else {
      const data = dataOf(one).subarray(0, length);
      await patch.write(one.offset, data);
      data.fill(0xee); // it may change by now
    }
  }
  await running.finish(patch, sizeBytes, undefined);
}

function patchBytes(content: Buffer, { sizeBytes, operations }: Step): Buffer {
  const next = Buffer.alloc(sizeBytes);
  content.copy(next, 0, 0, sizeBytes);
  for (const one of operations) {
    const end = Math.min(one.offset + one.length, sizeBytes);
    if (end <= one.offset) continue;
    if (one.type === 'zero') next.fill(0, one.offset, end);
    else dataOf(one).copy(next, one.offset, 0, end - one.offset);
  }
  return next;
}

async function rangesBetween(
  deps: MemorySite,
  from: Header,
  to: Header,
  wholeObject: boolean,
): Promise<ChangedRange[]> {
  const { store, objectBytes } = await openStore(deps, 'vm');
  const ranges: ChangedRange[] = [];
  const options = { store, objectBytes, from: from.root, to: to.root, sizeBytes: to.sizeBytes, wholeObject };
  for await (const range of changedRanges(options)) ranges.push(range);
  return ranges;
}

/** `before`, with what changed copied from `now`. */
function carried(before: Buffer, now: Buffer, ranges: readonly ChangedRange[]): Buffer {
  const result = Buffer.alloc(now.length);
  before.copy(result, 0, 0, now.length);
  for (const { offset, length } of ranges) now.copy(result, offset, offset, offset + length);
  return result;
}

test('any ranges in any order give the content that they give in memory, and the changes carry it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), async (steps) => {
      const deps = await memorySite({ blockBytes: 4096, packBytes: 16 * 1024 });
      await createImage(deps, spec('vm'), { sizeBytes: 3 * objectBytes, objectBytes });
      let content: Buffer = Buffer.alloc(3 * objectBytes);
      for (const one of steps) {
        const before = (await openHeader(deps, spec('vm'))).value;
        await patchImage(deps, one);
        const now = (await openHeader(deps, spec('vm'))).value;
        const next = patchBytes(content, one);
        expect(Buffer.from(await readImage(deps, 'vm')).equals(next)).toBe(true);
        const ranges = await rangesBetween(deps, before, now, false);
        expect(carried(content, next, ranges).equals(next)).toBe(true);
        const zeroed = ranges.filter(({ exists }) => !exists);
        expect(zeroed.filter(({ offset, length }) => !isZero(next.subarray(offset, offset + length)))).toEqual([]);
        const objects = await rangesBetween(deps, before, now, true);
        const touched = (all: ChangedRange[]): number[] => [
          ...new Set(all.map(({ offset }) => Math.floor(offset / objectBytes))),
        ];
        expect(objects.map(({ offset }) => offset / objectBytes)).toEqual(touched(ranges));
        content = next;
      }
    }),
    { numRuns: 60 },
  );
});

describe('cost', () => {
  const setUp = async (): Promise<MemorySite> => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: 2 ** 50 });
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    for (let index = 0; index < 40; index++) await patch.write(index * 2 ** 44, Buffer.alloc(70_000, index + 1));
    await running.finish(patch, 2 ** 50, { name: 'one', isProtected: true });
    return deps;
  };

  test('what is written again as it was adds nothing, and is no change', async () => {
    const deps = await setUp();
    const before = (await openHeader(deps, spec('vm'))).value;
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    for (let index = 0; index < 40; index++) await patch.write(index * 2 ** 44, Buffer.alloc(70_000, index + 1));
    await patch.zero(5 * 2 ** 44 + 2 ** 30, 2 ** 40);
    await running.finish(patch, 2 ** 50, undefined);
    const now = (await openHeader(deps, spec('vm'))).value;
    expect(now.root).toEqual(before.root);
    expect(now.snapshots).toMatchObject([{ name: 'one', protected: true, root: before.root, sizeBytes: 2 ** 50 }]);
  });

  test('zeros over a petabyte that was just written to, and shrinking: at once', async () => {
    const deps = await setUp();
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    await patch.write(2 ** 49, Buffer.from('soon gone'));
    await patch.zero(100, 2 ** 50 - 200);
    await patch.write(2 ** 20, Buffer.from('kept'));
    await running.finish(patch, 2 ** 30, undefined);
    const { root, sizeBytes } = (await openHeader(deps, spec('vm'))).value;
    expect([root?.usedBytes, sizeBytes]).toEqual([512 + 512, 2 ** 30]);
  });

  test('the walk reads what differs, and skips what does not', async () => {
    const deps = await setUp();
    const before = (await openHeader(deps, spec('vm'))).value;
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    await patch.write(7 * 2 ** 44 + 1000, Buffer.from('changed'));
    await running.finish(patch, 2 ** 50, undefined);
    const now = (await openHeader(deps, spec('vm'))).value;
    const requests = deps.bucket.counts().B;
    expect(await rangesBetween(deps, before, now, false)).toEqual([
      { offset: 7 * 2 ** 44 + 512, length: 512, exists: true },
    ]);
    expect(deps.bucket.counts().B - requests).toBeLessThan(12);
  });
});
