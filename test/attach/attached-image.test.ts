// An image in use against bytes in memory: any requests in any order, with flushes, folds by its writer and by others, clean
// ends, and crashes, after which exactly a prefix of what was written is there, and nothing less than what was flushed.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { openHeader } from '../../lib/image/access.ts';
import { foldTail } from '../../lib/image/journal/fold.ts';
import { createImage, resizeImage } from '../../lib/image/images.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { createSnapshot, removeSnapshot } from '../../lib/image/snapshots.ts';
import { collect, importBytes, memorySite, readImage, spec, type MemorySite } from '../image/model.ts';

const objectBytes = 16 * 1024;
const sizeBytes = 10 * objectBytes - 300;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const limits: AttachLimits = { ...attachLimitsDefault, segmentBytesMax: 24 * 1024, foldSegmentsMax: 5 };

const attach = (deps: MemorySite, options: { force?: boolean; limits?: AttachLimits } = {}): Promise<AttachedImage> =>
  AttachedImage.open(deps, spec('vm'), { owner, limits, ...options });

type Request = { type: 'write' | 'zero' | 'discard'; offset: number; length: number; byte: number };
type Step =
  | Request
  | { type: 'flush' | 'settle' | 'foldByOther' | 'snapshotByOther' | 'wait' | 'reopen' | 'crash' | 'collect' };

const offset = fc.oneof(
  fc.nat({ max: sizeBytes - 1 }),
  fc.nat({ max: Math.floor(sizeBytes / 512) }).map((sector) => sector * 512),
);
const request: fc.Arbitrary<Request> = fc.record({
  type: fc.constantFrom('write' as const, 'write' as const, 'write' as const, 'zero' as const, 'discard' as const),
  offset,
  length: fc.oneof(fc.constantFrom(512, 4096, 8192), fc.nat({ max: 3 * objectBytes })),
  byte: fc.integer({ min: 1, max: 255 }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: request },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constantFrom('flush', 'settle', 'foldByOther', 'snapshotByOther', 'wait', 'reopen', 'crash', 'collect'),
    }),
  },
);

/** What the image may hold: `contents[0]` is what was flushed, those behind it what each request made of it. */
class Model {
  contents: Buffer[] = [Buffer.alloc(sizeBytes)];

  get newest(): Buffer {
    return this.contents.at(-1)!;
  }

  apply({ type, offset: start, length, byte }: Request): void {
    const next = Buffer.from(this.newest);
    if (type === 'write') next.fill(byte, start, start + length);
    if (type === 'zero') next.fill(0, start, start + length);
    const last = start + length === sizeBytes ? sizeBytes : Math.floor((start + length) / 512) * 512;
    if (type === 'discard' && last > start) next.fill(0, Math.ceil(start / 512) * 512, last);
    this.contents.push(next);
  }

  durable(): void {
    this.contents = [this.newest];
  }
}

async function send(image: AttachedImage, one: Request): Promise<void> {
  if (one.type === 'write') await image.write(one.offset, Buffer.alloc(one.length, one.byte));
  else if (one.type === 'zero') await image.zero(one.offset, one.length);
  else await image.discard(one.offset, one.length);
}

/** The bucket of a process in which something happens at every read of a pack. */
function reading({ driver }: MemorySite, happens: () => Promise<void>): Driver {
  return {
    kind: 'memory',
    get: async (key, options) => {
      if (key.includes('/packs/')) await happens();
      return await driver.get(key, options);
    },
    head: (key) => driver.head(key),
    put: (key, body, condition) => driver.put(key, body, condition),
    delete: (keys) => driver.delete(keys),
    list: (options) => driver.list(options),
  };
}

/** Outside `expect`, since what is checked depends on what was drawn. */
function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

async function newestSnapshot(deps: MemorySite): Promise<Uint8Array> {
  const { value: header } = await openHeader(deps, spec('vm'));
  const { root } = header.snapshots.at(-1)!;
  return await readRange(openStore(deps, header), root, objectBytes, { offset: 0, length: sizeBytes });
}

const everything = async (image: AttachedImage): Promise<Buffer> => Buffer.from(await image.read(0, sizeBytes));

async function act(
  deps: MemorySite,
  image: AttachedImage,
  model: Model,
  type: Exclude<Step, Request>['type'],
): Promise<AttachedImage> {
  switch (type) {
    case 'flush':
      await image.flush();
      model.durable();
      return image;
    case 'settle':
      await image.settle();
      model.durable();
      check(model.newest.equals(await readImage(deps, 'vm')), 'the map differs from what was written');
      return image;
    case 'foldByOther':
      await foldTail(deps, await openHeader(deps, spec('vm')));
      return image;
    case 'snapshotByOther': {
      const name = `s${deps.clock.nowMs()}`;
      await createSnapshot(deps, spec('vm'), name);
      const found = await newestSnapshot(deps);
      await removeSnapshot(deps, spec('vm'), name);
      const isPrefix = model.contents.some((content) => content.equals(found));
      check(isPrefix, 'a snapshot is no prefix of what was written that has all that was flushed');
      return image;
    }
    case 'wait':
      deps.clock.advance(attachLimitsDefault.headerEveryMs);
      await image.maintain();
      return image;
    case 'collect':
      deps.clock.advance(deps.settings.collectGraceMs * 2);
      await collect(deps, 'vm');
      return image;
    case 'reopen':
      await image.close();
      model.durable();
      check(model.newest.equals(await readImage(deps, 'vm')), 'the map differs from what was written');
      return await attach(deps);
    case 'crash': {
      image.abandon();
      const reopened = await attach(deps, { force: true });
      const found = await everything(reopened);
      const survived = model.contents.findLastIndex((content) => content.equals(found));
      check(survived >= 0, 'after a crash, the image is no prefix of what was written that has all that was flushed');
      model.contents = [found];
      return reopened;
    }
  }
}

describe('an attached image', () => {
  test(
    'reads back what was written, and after a crash a prefix of it with all that was flushed',
    { timeout: 120_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const deps = await memorySite({ packBytes: 64 * 1024, blockBytes: 8 * 1024 });
          await createImage(deps, spec('vm'), { sizeBytes, objectBytes });
          const model = new Model();
          let image = await attach(deps);
          for (const one of steps) {
            if (!('offset' in one)) image = await act(deps, image, model, one.type);
            else {
              const whole = { ...one, length: Math.min(one.length, sizeBytes - one.offset) };
              await send(image, whole);
              model.apply(whole);
            }
            expect((await everything(image)).equals(model.newest)).toBe(true);
          }
          await image.close();
          expect(Buffer.from(await readImage(deps, 'vm')).equals(model.newest)).toBe(true);
        }),
        { numRuns: 60 },
      );
    },
  );

  test('extents name every byte that is not zero, wherever it is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 12 }), fc.nat({ max: 12 }), async (requests, flushAt) => {
        const deps = await memorySite({ blockBytes: 8 * 1024 });
        await createImage(deps, spec('vm'), { sizeBytes, objectBytes });
        const image = await attach(deps);
        for (const [i, one] of requests.entries()) {
          await send(image, { ...one, length: Math.min(one.length, sizeBytes - one.offset) });
          if (i === flushAt) await image.settle();
        }
        const content = await everything(image);
        let at = 0;
        while (at < sizeBytes) {
          for (const { length, hole } of await image.extents(at, sizeBytes - at)) {
            const isZero = content.subarray(at, at + length).every((byte) => byte === 0);
            check(!hole || isZero, `bytes from ${at} on are called a hole`);
            at += length;
          }
        }
        expect(at).toBe(sizeBytes);
        await image.close();
      }),
      { numRuns: 40 },
    );
  });

  test('requests that are in flight together take effect in the order of the calls, also where they wait for room', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes, objectBytes });
    const image = await attach(deps, { limits: { ...limits, pendingBytesMax: 16 * 1024 } });
    const model = new Model();
    const requests = Array.from({ length: 60 }, (_, i): Request => ({
      type: (['write', 'zero', 'discard'] as const)[i % 3]!,
      offset: (i % 7) * 512 + (i % 5 === 0 ? 100 : 0),
      length: i % 4 === 0 ? 6000 : 4096,
      byte: i + 1,
    }));
    await Promise.all(requests.map((one) => send(image, one)));
    for (const one of requests) model.apply(one);
    expect((await everything(image)).equals(model.newest)).toBe(true);
    await image.close();
  });

  test('a writer whose image was attached elsewhere is shut out at once, and loses nothing that it flushed', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes, objectBytes });
    const first = await attach(deps);
    await first.write(0, Buffer.alloc(4096, 1));
    await first.flush();
    await expect(attach(deps)).rejects.toMatchObject({ code: 'EBUSY' });
    await first.write(4096, Buffer.alloc(4096, 2));
    const second = await attach(deps, { force: true });
    await expect(first.flush()).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    await expect(first.write(0, Buffer.alloc(512, 3))).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    expect(
      Buffer.from(await second.read(0, 8192)).equals(Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096)])),
    ).toBe(true);
    await second.close();
  });

  test('grows while it is in use, and does not shrink', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: objectBytes, objectBytes });
    const image = await attach(deps);
    await resizeImage(deps, spec('vm'), { sizeBytes: 2 * objectBytes });
    await expect(resizeImage(deps, spec('vm'), { sizeBytes: 512, allowShrink: true })).rejects.toMatchObject({
      code: 'EBUSY',
    });
    deps.clock.advance(attachLimitsDefault.headerEveryMs);
    await image.maintain();
    await image.write(objectBytes, Buffer.alloc(512, 7));
    await image.close();
    expect((await readImage(deps, 'vm'))[objectBytes]).toBe(7);
  });

  test('folding writes no data again: what is stored grows by the map only', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes, objectBytes });
    const image = await attach(deps);
    for (let at = 0; at + 8192 <= sizeBytes; at += 8192) await image.write(at, Buffer.from(deps.random.bytes(8192)));
    await image.flush();
    const before = deps.bucket.counts().bytesOut;
    await image.settle();
    expect(deps.bucket.counts().bytesOut - before).toBeLessThan(sizeBytes / 20);
    await image.close();
  });

  test('a crash leaves all of a zeroing or nothing, wherever it begins and ends', async () => {
    const deps = await memorySite();
    const before = Buffer.from(deps.random.bytes(sizeBytes));
    await importBytes(deps, 'vm', before, { objectBytes });
    // While it reads what it keeps of the sectors at its ends, what was taken grows old.
    const aged = {
      ...deps,
      bucket: new Bucket(
        reading(deps, () => grownOld()),
        deps,
      ),
    };
    const image = await attach(aged);
    const grownOld = async (): Promise<void> => {
      deps.clock.advance(limits.segmentAgeMs);
      await image.maintain();
      await new Promise((resolve) => setImmediate(resolve));
    };
    await image.zero(700, 3 * objectBytes);
    image.abandon();
    const next = await attach(deps, { force: true });
    expect(before.equals(await everything(next))).toBe(true);
    await next.close();
  });

  test('discarding a whole empty disk writes nothing', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: 2 ** 44, objectBytes: 4 * 1024 * 1024 });
    const image = await attach(deps);
    const before = deps.bucket.counts();
    await image.discard(0, 2 ** 44);
    await image.flush();
    expect(deps.bucket.counts()).toEqual(before);
    await image.close();
  });
});
