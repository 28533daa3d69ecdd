// The tail of an image in use: what is in its journal and not in its map. It is folded in time, whatever else goes on, and what
// lies below it may be folded, collected and grown by others meanwhile.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { Layer, layered, type Covered } from '../../lib/attach/layer.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { openHeader } from '../../lib/image/access.ts';
import { foldTail } from '../../lib/image/journal/fold.ts';
import { createImage } from '../../lib/image/images.ts';
import { collect, memorySite, readImage, spec, type MemorySite } from '../image/model.ts';
import { interposed } from './interposed.ts';

const objectBytes = 16 * 1024;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const attach = (deps: MemorySite, limits: Partial<AttachLimits> = {}): Promise<AttachedImage> =>
  AttachedImage.open(deps, spec('vm'), { owner, limits: { ...attachLimitsDefault, ...limits } });

const foldedSeq = async (deps: MemorySite): Promise<number | undefined> =>
  (await openHeader(deps, spec('vm'))).value.journal?.folded.seq;

async function maintainFor(deps: MemorySite, image: AttachedImage, seconds: number): Promise<void> {
  for (let i = 0; i < seconds; i++) {
    deps.clock.advance(1000);
    await image.maintain();
  }
}

describe('the tail of an image in use', () => {
  test('it is folded when it is a minute old, though the header is looked at every few seconds', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: objectBytes, objectBytes });
    const image = await attach(deps);
    await image.write(0, Buffer.alloc(512, 1));
    await image.flush();
    await maintainFor(deps, image, attachLimitsDefault.foldAgeMs / 1000 - 5);
    expect(await foldedSeq(deps)).toBe(0);
    await maintainFor(deps, image, 10);
    expect(await foldedSeq(deps)).toBe(1);
    await image.close();
  });

  test('a segment that others folded before its put was answered is asked for no more', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: objectBytes, objectBytes });
    const writers: AttachedImage[] = [];
    const isSecondSlot = (key: string): boolean => key.includes('/journal/') && key.endsWith('1');
    const slow = interposed(deps, isSecondSlot, async (_, land) => {
      await land();
      await foldTail(deps, await openHeader(deps, spec('vm')));
      for (const writer of writers) await maintainFor(deps, writer, 10);
    });
    const image = await attach(slow);
    writers.push(image);
    for (const byte of [1, 2]) {
      await image.write(0, Buffer.alloc(512, byte));
      await image.flush();
    }
    const before = slow.bucket.counts();
    await maintainFor(deps, image, attachLimitsDefault.foldAgeMs / 1000 + 10);
    const looks = (attachLimitsDefault.foldAgeMs + 10_000) / attachLimitsDefault.headerEveryMs;
    expect(slow.bucket.counts().B - before.B).toBeLessThanOrEqual(looks);
    expect((await image.read(0, 1))[0]).toBe(2);
    await image.close();
  });

  test('a root that others replaced, and collection took away, is not needed to read or fold', async () => {
    const deps = await memorySite({ cacheBytes: 1 });
    await createImage(deps, spec('vm'), { sizeBytes: 4 * objectBytes, objectBytes });
    const image = await attach(deps, { cacheBytes: 0 });
    await image.write(0, Buffer.alloc(512, 1));
    await image.settle();
    await image.write(512, Buffer.alloc(512, 2));
    await image.flush();
    await foldTail(deps, await openHeader(deps, spec('vm')));
    deps.clock.advance(2 * deps.settings.collectGraceMs);
    expect((await collect(deps, 'vm')).deletedPacks).toBeGreaterThan(0);
    expect(await image.read(0, 1024)).toEqual(Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(512, 2)]));
    await image.write(1024, Buffer.alloc(512, 3));
    await image.settle();
    expect((await readImage(deps, 'vm'))[1024]).toBe(3);
    await image.close();
  });

  test('one write may be larger than any pack', { timeout: 60_000 }, async () => {
    const deps = await memorySite();
    const sizeBytes = 80 * 1024 * 1024;
    await createImage(deps, spec('vm'), { sizeBytes, objectBytes: 4 * 1024 * 1024 });
    const image = await attach(deps, { segmentBytesMax: 16 * 1024 * 1024 });
    const data = Buffer.alloc(sizeBytes, deps.random.bytes(64 * 1024));
    await image.write(0, data);
    await image.flush();
    image.abandon();
    const again = await AttachedImage.open(deps, spec('vm'), { owner, limits: attachLimitsDefault, force: true });
    expect(Buffer.from(await again.read(0, sizeBytes)).equals(data)).toBe(true);
    await again.close();
  });

  test('writers wait for room only as long as it takes, also when segments may be larger than what may wait', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: 4 * objectBytes, objectBytes });
    const image = await attach(deps, { pendingBytesMax: 8192 });
    for (let i = 0; i < 8; i++) await image.write(i * 4096, Buffer.alloc(4096, i + 1));
    await image.close();
    expect((await readImage(deps, 'vm'))[7 * 4096]).toBe(8);
  });
});

type Placing = { layer: number; sector: number; sectors: number };
const layerCount = 3;

/** Which layer's number each sector shows, and where in its extent's data. */
const shown = (covered: readonly Covered[], total: number): string[] => {
  const sectors = Array.from({ length: total }, () => '-');
  for (const { offset, length, source, skipBytes } of covered)
    for (let at = 0; at < length; at += 512) {
      const data = typeof source === 'object' && 'data' in source ? source.data : undefined;
      sectors[(offset + at) / 512] = data ? `${data[skipBytes + at]}` : 'hole';
    }
  return sectors;
};

describe('layers over one another', () => {
  const placing: fc.Arbitrary<Placing> = fc.record({
    layer: fc.nat({ max: layerCount - 1 }),
    sector: fc.nat({ max: 90 }),
    sectors: fc.integer({ min: 1, max: 9 }),
  });

  test('the uppermost that says something of a sector is seen', () => {
    fc.assert(
      fc.property(fc.array(placing, { maxLength: 60 }), fc.nat({ max: 50 }), (placings, from) => {
        const layers = Array.from({ length: layerCount }, () => new Layer(32 * 512));
        const model = layers.map(() => Array.from({ length: 100 }, () => '-'));
        for (const [i, { layer, sector, sectors }] of placings.entries()) {
          const isHole = i % 5 === 0;
          if (isHole) layers[layer]!.zero(sector * 512, sectors * 512);
          else layers[layer]!.write(sector * 512, Buffer.alloc(sectors * 512, i));
          model[layer]!.fill(isHole ? 'hole' : `${i}`, sector, sector + sectors);
        }
        const wanted = model[0]!.map((_, at) => model.map((one) => one[at]!).findLast((one) => one !== '-') ?? '-');
        const covered = layered(layers, from * 512, 40 * 512);
        expect(shown(covered, 100).slice(from, from + 40)).toEqual(wanted.slice(from, from + 40));
        expect(
          covered.every(({ offset }, i) => i === 0 || offset >= covered[i - 1]!.offset + covered[i - 1]!.length),
        ).toBe(true);
      }),
    );
  });

  test('a hundred thousand extents are told in no time', { timeout: 5000 }, () => {
    const layers = [new Layer(512 * 1024), new Layer(512 * 1024)];
    const extentCount = 50_000;
    for (const [i, layer] of layers.entries())
      for (let at = 0; at < extentCount; at++) layer.write(at * 1024 + i * 512, Buffer.alloc(512, 1));
    expect(layered(layers, 0, extentCount * 1024)).toHaveLength(2 * extentCount);
  });
});
