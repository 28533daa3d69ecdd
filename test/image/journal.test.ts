// The journal of an attached image: its codecs, who may append, folding by many at once, collection, and damage. That an
// attached image is a disk is tested in test/attach.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { replaceDocument } from '../../lib/bucket/document.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { encodeEntry } from '../../lib/image/format/codec.ts';
import type { ImageDeps } from '../../lib/image/deps.ts';
import { breakEpoch, closeEpoch, openEpoch } from '../../lib/image/journal/epochs.ts';
import { foldTail } from '../../lib/image/journal/fold.ts';
import { parseEpochId, parsePackId } from '../../lib/image/ids.ts';
import { createImage } from '../../lib/image/images.ts';
import { decodeNode, encodeNode, type Node, type PackRef } from '../../lib/image/format/node.ts';
import { encodePack, entryKind } from '../../lib/image/format/pack.ts';
import { encodeFence, fenceBytes, isFence, passedBy } from '../../lib/image/format/fence.ts';
import { encodeSegment, parseSegment, type NewChange, type SegmentMeta } from '../../lib/image/journal/segment.ts';
import { fence, fillSlot, readSlot } from '../../lib/image/journal/slots.ts';
import { createSnapshot, removeSnapshot } from '../../lib/image/snapshots.ts';
import { mutated, mutations } from '../mutations.ts';
import { collect, memorySite, readImage, seededRandom, spec, type MemorySite } from './model.ts';

const KiB = 1024;
const objectBytes = 16 * KiB;
const sizeBytes = 256 * KiB;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const limits: AttachLimits = { ...attachLimitsDefault, foldSegmentsMax: 1000 };
const damage = expect.objectContaining({ code: 'EBADMSG' }) as FarsideError;
const bytes = (seed: number, length: number): Buffer => Buffer.from(seededRandom(seed).bytes(length));
const contentOf = async (deps: ImageDeps, from: number, to: number): Promise<Buffer> =>
  Buffer.from(await readImage(deps, 'vm')).subarray(from, to);

const attach = (deps: ImageDeps, force = false): Promise<AttachedImage> =>
  AttachedImage.open(deps, spec('vm'), { owner, limits, force });

async function siteWithImage(settings: Parameters<typeof memorySite>[0] = {}): Promise<MemorySite> {
  const deps = await memorySite(settings);
  await createImage(deps, spec('vm'), { sizeBytes, objectBytes });
  return deps;
}

/** As another process on the same bucket, each of whose requests takes its own time. */
function process(deps: MemorySite, seed: number): MemorySite {
  const random = seededRandom(seed);
  const turns = async (): Promise<void> => {
    for (let left = Math.floor(random.fraction() * 20); left > 0; left--) await Promise.resolve();
  };
  const driver = new Proxy(deps.driver, {
    get(target, property) {
      const real: unknown = Reflect.get(target, property, target);
      if (typeof real !== 'function') return real;
      return async (...args: unknown[]) => {
        await turns();
        const answer: unknown = await real.apply(target, args);
        await turns();
        return answer;
      };
    },
  });
  return { ...deps, random, driver, bucket: new Bucket(driver, { clock: deps.clock, random }) };
}

async function writeThrough(image: AttachedImage, offset: number, data: Uint8Array): Promise<void> {
  await image.write(offset, data);
  await image.flush();
}

async function objectsOf(deps: MemorySite): Promise<{ key: string; bytes: number }[]> {
  const { value } = await openHeader(deps, spec('vm'));
  return (await deps.bucket.list({ prefix: prefixes.journal(value.imageId), limit: 1000 })).objects;
}

/** What a parser did: gave something, refused with EBADMSG, or anything worse. */
function outcomeOf<T>(parse: () => T): { given: T } | 'refused' {
  try {
    return { given: parse() };
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'EBADMSG') return 'refused';
    throw error;
  }
}

const slotArbitrary = fc.record({
  epoch: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((raw) => parseEpochId(Buffer.from(raw).toString('hex'))),
  seq: fc.nat(),
});
const metaArbitrary: fc.Arbitrary<SegmentMeta> = fc.record({
  slot: slotArbitrary,
  sealedAtMs: fc.nat({ max: 2 ** 42 }),
  firstEntry: fc.nat(),
  entryCount: fc.nat({ max: 16_384 }),
});
/** In sectors: the gap before, how many, and whether it is data. */
const changesArbitrary: fc.Arbitrary<NewChange[]> = fc
  .array(fc.tuple(fc.nat({ max: 2 ** 30 }), fc.integer({ min: 1, max: 16 }), fc.boolean()), { maxLength: 12 })
  .map((rows) => {
    let end = 0;
    return rows.map(([gap, sectors, isData], index) => {
      const [offset, length] = [(end + gap) * 512, sectors * 512];
      end += gap + sectors;
      return isData
        ? { offset, length, block: encodeEntry(entryKind.block, offset, bytes(index, length), 'none') }
        : { offset, length };
    });
  });

const slot = { epoch: parseEpochId('00112233445566ff'), seq: 7 };
const meta: SegmentMeta = { slot, sealedAtMs: 5, firstEntry: 3, entryCount: 2 };
const sample: NewChange[] = [
  { offset: 512, length: 1024, block: encodeEntry(entryKind.block, 512, bytes(1, 1024), 'none') },
  { offset: 4096, length: 2 ** 40 },
];

describe('what lies in a slot', () => {
  test('a segment says the same when it is read as when it was made', () => {
    fc.assert(
      fc.property(metaArbitrary, changesArbitrary, (given, changes) => {
        const { segment, bytes: body } = encodeSegment(given, changes);
        expect(parseSegment(body, given.slot)).toEqual(segment);
        expect(isFence(body, given.slot)).toBe(false);
        expect(body.length).toBeGreaterThan(fenceBytes);
      }),
      { numRuns: 300 },
    );
  });

  test('a segment that was changed anywhere before its blocks, or lies in another slot, is refused', () => {
    const { bytes: body } = encodeSegment(meta, sample);
    const headBytes = body.length - 1024;
    fc.assert(
      fc.property(mutations, (changes) => {
        const head = mutated(body.subarray(0, headBytes), changes);
        const changed = Buffer.concat([head, body.subarray(headBytes)]);
        fc.pre(!changed.subarray(0, headBytes).equals(body.subarray(0, headBytes)));
        expect(() => parseSegment(changed, slot)).toThrow(damage);
      }),
      { numRuns: 2000 },
    );
    expect(() => parseSegment(body, { ...slot, seq: 8 })).toThrow(damage);
    expect(() => parseSegment(body, { ...slot, epoch: parseEpochId('ff112233445566ff') })).toThrow(damage);
  });

  test('events that were changed and sealed again are refused, or name only what is there, in order', () => {
    const { segment, bytes: body } = encodeSegment(meta, sample);
    const raw = body.subarray(body.length - 1024 - eventsBytesOf(body), body.length - 1024);
    fc.assert(
      fc.property(mutations, (changes) => {
        const entries = [encodeEntry(entryKind.events, 0, mutated(raw, changes), 'none'), sample[0]!.block!];
        const outcome = outcomeOf(() => parseSegment(encodePack(entries).bytes, slot));
        const found = outcome === 'refused' ? [] : outcome.given.changes;
        const ends = found.map(({ offset, length }) => offset + length);
        expect(found.every(({ offset }, index) => offset >= (ends[index - 1] ?? 0))).toBe(true);
        expect(found.filter(({ entry }) => entry !== undefined).every(({ entry }) => entry === 1)).toBe(true);
      }),
      { numRuns: 3000 },
    );
    expect(
      parseSegment(encodePack([encodeEntry(entryKind.events, 0, raw, 'none'), sample[0]!.block!]).bytes, slot),
    ).toEqual(segment);
  });

  test('random bytes are no segment', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat({ max: 100 }), (random, goodBytes) => {
        const body = Buffer.concat([encodeSegment(meta, sample).bytes.subarray(0, goodBytes), random]);
        expect(outcomeOf(() => parseSegment(body, slot))).toBe('refused');
      }),
      { numRuns: 1000 },
    );
  });

  test('a fence is one in its own slot only, says how many were passed, and is none once it was changed', () => {
    fc.assert(
      fc.property(slotArbitrary, slotArbitrary, fc.nat({ max: 0xff_ff }), mutations, (one, other, passed, changes) => {
        const body = encodeFence(one, passed);
        expect(isFence(body, one)).toBe(true);
        expect(passedBy(body, one)).toBe(passed);
        fc.pre(one.epoch !== other.epoch || one.seq !== other.seq);
        expect(() => isFence(body, other)).toThrow(damage);
        const changed = mutated(body, changes);
        fc.pre(!changed.equals(body));
        expect(outcomeOf(() => isFence(changed, one))).not.toEqual({ given: true });
      }),
      { numRuns: 1000 },
    );
  });
});

/** Of the sample: its index is of two entries. */
const eventsBytesOf = (body: Buffer): number => body.readUInt32LE(16 + 4);

describe('a map node that names slots', () => {
  const ref: fc.Arbitrary<PackRef> = fc.oneof(
    fc.constant<PackRef>('self'),
    fc
      .record({ seed: fc.nat({ max: 5 }), slot: fc.option(slotArbitrary, { nil: undefined }) })
      .map(({ seed, slot: born }) => ({
        packId: parsePackId(Buffer.from(bytes(seed + 1, 16)).toString('hex')),
        entryCount: 1000,
        packBytes: 1_000_000,
        ...(born && { slot: born }),
      })),
  );
  const leaf: fc.Arbitrary<Node> = fc
    .array(
      fc.tuple(fc.nat({ max: 20 }), fc.integer({ min: 1, max: 20 }), ref, fc.nat({ max: 999 }), fc.nat({ max: 127 })),
      {
        minLength: 1,
        maxLength: 30,
      },
    )
    .map((rows) => {
      let end = 0;
      const known = new Map<string, PackRef>();
      const extents = rows.map(([gap, sectors, drawn, entry, skip]) => {
        // References to one pack agree on where it was born.
        const id = drawn === 'self' ? '' : drawn.packId;
        const pack = known.get(id) ?? drawn;
        known.set(id, pack);
        const sector = end + gap;
        end = sector + sectors;
        return { sector, sectors, pack, entry, skip };
      });
      return { level: 0, extents, children: [] };
    });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(leaf, (node) => {
        expect(decodeNode(encodeNode(node), 8192)).toEqual(node);
      }),
      { numRuns: 500 },
    );
  });

  test('and was changed anywhere gives a node that can be written again, or is refused', () => {
    fc.assert(
      fc.property(leaf, mutations, (node, changes) => {
        const outcome = outcomeOf(() => decodeNode(mutated(encodeNode(node), changes), 8192));
        const given = outcome === 'refused' ? node : outcome.given;
        const again = decodeNode(encodeNode(given), 8192);
        const places = ({ extents }: Node): unknown =>
          extents.map(({ sector, sectors, entry, skip }) => [sector, sectors, entry, skip]);
        expect(places(again)).toEqual(places(given));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('epochs', () => {
  test.each([1, 2, 3, 4, 5, 6])(
    'of openers at once exactly one gets the image, the others are told who (seed %i)',
    async (seed) => {
      const deps = await siteWithImage();
      const tries = await Promise.allSettled(
        [0, 1, 2, 3, 4].map((number) =>
          openEpoch(process(deps, seed * 10 + number), spec('vm'), { ...owner, locker: `client.${number}` }),
        ),
      );
      const won = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value.value.journal?.owner?.locker] : []));
      const refusals = tries.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
      expect(won).toHaveLength(1);
      expect(new Set(refusals)).toEqual(new Set(['EBUSY']));
      expect((await openHeader(deps, spec('vm'))).value.journal?.owner?.locker).toBe(won[0]);
    },
  );

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'of openers by force at once the last in the header can flush, every other is shut out (seed %i)',
    async (seed) => {
      const deps = await siteWithImage();
      const opened = await Promise.allSettled(
        [0, 1, 2, 3].map((number) => attach(process(deps, seed * 10 + number), true)),
      );
      const images = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      const flushed = await Promise.allSettled(
        images.map((image, number) => writeThrough(image, 0, bytes(number + 1, 4096))),
      );
      const { journal } = (await openHeader(deps, spec('vm'))).value;
      const accepted = images.map(({ epoch }) => epoch === journal!.folded.epoch);
      expect(flushed.map(({ status }) => status === 'fulfilled')).toEqual(accepted);
      expect(accepted.filter(Boolean)).toHaveLength(1);
      const winner = images[accepted.indexOf(true)]!;
      await winner.close();
      expect(await contentOf(deps, 0, 4096)).toEqual(bytes(accepted.indexOf(true) + 1, 4096));
    },
  );

  test('one that began while an opener was folding is fenced before it is taken over', async () => {
    const deps = await siteWithImage();
    const first = await attach(deps);
    await writeThrough(first, 0, bytes(1, 4096));
    let second: AttachedImage | undefined;
    const { site, by } = overtaking(deps);
    by(async () => (second = await attach(deps, true)));
    const third = await attach(site, true);
    await expect(writeThrough(second!, 0, bytes(2, 4096))).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    await writeThrough(third, 4096, bytes(3, 4096));
    await third.close();
    expect(await contentOf(deps, 0, 8192)).toEqual(Buffer.concat([bytes(1, 4096), bytes(3, 4096)]));
  });

  test('a demotion between look and swap keeps an opener out', async () => {
    const deps = await siteWithImage();
    const { site, by } = overtaking(deps);
    by(async () => {
      const stored = await openHeader(deps, spec('vm'));
      const features = [...stored.value.features, 'non-primary'];
      expect(await replaceDocument(deps.bucket, stored, { ...stored.value, features }, deps.random)).toBeDefined();
    });
    await expect(openEpoch(site, spec('vm'), owner)).rejects.toMatchObject({ code: 'EROFS' });
    expect((await openHeader(deps, spec('vm'))).value.journal).toBeUndefined();
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'closing, breaking and opening at once leave everything flushed, and at most one writer (seed %i)',
    async (seed) => {
      const deps = await siteWithImage();
      const first = await attach(process(deps, seed));
      await writeThrough(first, 0, bytes(1, 8192));
      const stored = await openHeader(deps, spec('vm'));
      const [, , opened] = await Promise.allSettled([
        closeEpoch(process(deps, seed + 100), stored.value.imageId, first.epoch),
        breakEpoch(process(deps, seed + 200), stored),
        attach(process(deps, seed + 300), true),
      ]);
      await expect(writeThrough(first, 0, bytes(2, 512))).rejects.toMatchObject({ code: 'ESHUTDOWN' });
      const { journal } = (await openHeader(deps, spec('vm'))).value;
      const isOpen = journal?.state === 'open';
      const second = (opened as PromiseFulfilledResult<AttachedImage>).value;
      const flushed = await writeThrough(second, 8192, bytes(3, 512)).then(
        () => true,
        () => false,
      );
      expect(flushed).toBe(isOpen);
      await breakEpoch(deps, await openHeader(deps, spec('vm')));
      expect(await contentOf(deps, 0, 8192)).toEqual(bytes(1, 8192));
    },
  );

  test('breaking and closing again change nothing', async () => {
    const deps = await siteWithImage();
    const image = await attach(deps);
    await writeThrough(image, 0, bytes(1, 512));
    const { imageId } = image.header;
    await breakEpoch(deps, await openHeader(deps, spec('vm')));
    const before = await openHeader(deps, spec('vm'));
    await breakEpoch(deps, before);
    await closeEpoch(deps, imageId, image.epoch);
    expect((await openHeader(deps, spec('vm'))).etag).toBe(before.etag);
    expect(before.value.journal).toMatchObject({ state: 'closed', past: [{ epoch: image.epoch, endSeq: 1 }] });
  });

  test('of a writer and fences at one slot one gets it, and nothing comes behind a fence', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const deps = await siteWithImage();
      const { imageId } = (await openHeader(deps, spec('vm'))).value;
      const { epoch } = slot;
      const writer = process(deps, seed);
      let filled = 0;
      const write = async (): Promise<void> => {
        for (; filled < 4; filled++) {
          const { bytes: body } = encodeSegment({ ...meta, slot: { epoch, seq: filled } }, sample);
          if (!(await fillSlot(writer, imageId, { epoch, seq: filled }, body))) return;
        }
      };
      const [, one, other] = await Promise.all([
        write(),
        fence(process(deps, seed + 50), imageId, { epoch, seq: 0 }),
        fence(process(deps, seed + 90), imageId, { epoch, seq: 0 }),
      ]);
      expect([one, other]).toEqual([filled, filled]);
      expect(await readSlot(deps, imageId, { epoch, seq: filled })).toEqual({ kind: 'fence' });
      expect(await readSlot(deps, imageId, { epoch, seq: filled + 1 })).toEqual({ kind: 'free' });
    }
  });

  test('a put that timed out but landed is the flush’s own', async () => {
    const deps = await siteWithImage();
    let faults = 0;
    const flaky = withPuts(deps, async (key, put) => {
      const outcome = await put();
      if (key.includes('/journal/') && faults++ % 2 === 0)
        throw new FarsideError('ETIMEDOUT', 'no answer', { retry: 'later' });
      return outcome;
    });
    const image = await attach(flaky);
    for (let round = 0; round < 4; round++) await writeThrough(image, round * 4096, bytes(round + 1, 4096));
    expect((await objectsOf(deps)).length).toBe(4);
    await image.close();
    expect(await contentOf(deps, 12_288, 16_384)).toEqual(bytes(4, 4096));
  });
});

type Put = Driver['put'];

/** The same site, with its puts in other hands. */
function withPuts(deps: MemorySite, around: (key: string, put: () => ReturnType<Put>) => ReturnType<Put>): MemorySite {
  const driver = new Proxy(deps.driver, {
    get(target, property) {
      const real: unknown = Reflect.get(target, property, target);
      if (property === 'put') return (...args: Parameters<Put>) => around(args[0], () => target.put(...args));
      return typeof real === 'function' ? real.bind(target) : real;
    },
  });
  return { ...deps, bucket: new Bucket(driver, { clock: deps.clock, random: deps.random }) };
}

type Overtaking = { site: MemorySite; by: (work: () => Promise<unknown>) => void };

/** Something comes in between, right before the next swap of a header. */
function overtaking(deps: MemorySite): Overtaking {
  let next: (() => Promise<unknown>) | undefined;
  const site = withPuts(deps, async (key, put) => {
    const work = key.endsWith('header.json') ? next : undefined;
    if (work) next = undefined;
    await work?.();
    return await put();
  });
  return { site, by: (work) => (next = work) };
}

describe('folding', () => {
  test.each([1, 2, 3, 4, 5, 6])(
    'by many at once, while its writer goes on, changes nothing (seed %i)',
    async (seed) => {
      const deps = await siteWithImage({ blockBytes: 8 * KiB });
      const random = seededRandom(seed);
      const content = Buffer.alloc(sizeBytes);
      const image = await attach(process(deps, seed));
      const writing = async (): Promise<void> => {
        for (let round = 0; round < 12; round++) {
          const offset = Math.floor(random.fraction() * 500) * 512;
          const data = bytes(seed * 100 + round, 512 + Math.floor(random.fraction() * 12) * 512).subarray(
            0,
            sizeBytes - offset,
          );
          content.set(data, offset);
          await writeThrough(image, offset, data);
        }
      };
      const folding = async (number: number): Promise<void> => {
        const here = process(deps, seed * 1000 + number);
        for (let round = 0; round < 5; round++) await foldTail(here, await openHeader(here, spec('vm')));
      };
      await Promise.all([writing(), folding(1), folding(2), folding(3)]);
      await Promise.all([folding(4), folding(5)]);
      expect(content.equals(await readImage(deps, 'vm'))).toBe(true);
      const folded = await openHeader(deps, spec('vm'));
      expect(folded.value.journal?.folded).toMatchObject({ seq: 12, entry: 12 });
      expect(await foldTail(deps, folded)).toBe(folded);
      await image.close();
      expect(content.equals(await readImage(deps, 'vm'))).toBe(true);
    },
  );

  test('what a writer knows of its own slots is not taken for the slots of the next one', async () => {
    const deps = await siteWithImage();
    const { site, by } = overtaking(deps);
    const first = await attach(site);
    await writeThrough(first, 0, bytes(1, 4096));
    by(async () => {
      const second = await attach(deps, true);
      await writeThrough(second, 0, bytes(2, 4096));
      second.abandon();
    });
    await expect(first.settle()).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    await breakEpoch(deps, await openHeader(deps, spec('vm')));
    expect(await contentOf(deps, 0, 4096)).toEqual(bytes(2, 4096));
  });

  test('in one step or in many gives one content', async () => {
    const [one, many] = [await siteWithImage(), await siteWithImage()];
    for (const deps of [one, many]) {
      const image = await attach(deps);
      for (let round = 0; round < 6; round++) {
        await writeThrough(image, round * 20_000 - (round % 2) * 7 * 512, bytes(round, 24 * KiB));
        if (deps === many) await foldTail(deps, await openHeader(deps, spec('vm')));
      }
      await image.close();
    }
    expect(await readImage(one, 'vm')).toEqual(await readImage(many, 'vm'));
  });
});

describe('collection', () => {
  const collectOld = async (deps: MemorySite): ReturnType<typeof collect> => {
    deps.clock.advance(2 * deps.settings.collectGraceMs);
    return await collect(deps, 'vm');
  };

  test('leaves slots that are not folded, and fences, however old', async () => {
    const deps = await siteWithImage();
    const first = await attach(deps);
    await writeThrough(first, 0, bytes(1, 4096));
    await writeThrough(first, 0, bytes(2, 4096));
    const before = await objectsOf(deps);
    await collectOld(deps);
    expect(await objectsOf(deps)).toEqual(before);
    const second = await attach(deps, true);
    await writeThrough(second, 0, bytes(3, 4096));
    await collectOld(deps);
    const left = await objectsOf(deps);
    expect(left.filter((object) => object.bytes === fenceBytes)).toHaveLength(1);
    // What the first wrote is dead once what the second wrote is folded, and not before.
    expect(left).toHaveLength(3);
    expect(new Set(left.map(({ key }) => key.slice(-12)))).toEqual(
      new Set(['000000000000', '000000000001', '000000000002']),
    );
    await second.settle();
    await collectOld(deps);
    expect((await objectsOf(deps)).filter((object) => object.bytes > fenceBytes)).toHaveLength(1);
    expect(Buffer.from(await second.read(0, 4096)).equals(bytes(3, 4096))).toBe(true);
    await second.close();
  });

  test('makes folded slots sparse where they lie, when most of them is dead, and keeps what a snapshot needs', async () => {
    const deps = await siteWithImage({ blockBytes: 8 * KiB });
    const image = await attach(deps);
    await writeThrough(image, 0, bytes(1, 192 * KiB));
    await createSnapshot(deps, spec('vm'), 's');
    await writeThrough(image, 0, bytes(2, 160 * KiB));
    await image.settle();
    const [whole] = await objectsOf(deps);
    expect(await collectOld(deps)).toMatchObject({ shrunkPacks: 0 });
    await removeSnapshot(deps, spec('vm'), 's');
    expect(await collectOld(deps)).toMatchObject({ shrunkPacks: 1 });
    const [shrunk] = await objectsOf(deps);
    expect(shrunk!.key).toBe(whole!.key);
    expect(shrunk!.bytes).toBeLessThan(whole!.bytes / 2);
    await image.close();
    expect(await contentOf(deps, 160 * KiB, 192 * KiB)).toEqual(bytes(1, 192 * KiB).subarray(160 * KiB));
  });
});

describe('damage in a slot', () => {
  const flipped = async (deps: MemorySite, key: string, at: number): Promise<void> => {
    const found = await deps.bucket.get(key);
    const body = Buffer.from(found.status === 'found' ? found.body : []);
    body[at < 0 ? body.length + at : at]! ^= 4;
    await deps.bucket.delete([key]);
    await deps.bucket.create(key, body);
  };
  const keyOf = async (deps: MemorySite): Promise<string> => (await objectsOf(deps))[0]!.key;

  test('that is folded is told with image and offset, where it is read', async () => {
    const deps = await siteWithImage();
    const image = await attach(deps);
    await writeThrough(image, 40 * KiB, bytes(1, 4096));
    await image.close();
    await flipped(deps, await keyOf(deps), -1);
    await expect(readImage(deps, 'vm')).rejects.toMatchObject({
      code: 'EBADMSG',
      message: expect.stringMatching(/rbd\/vm: block at image offset 40960 in pack [0-9a-f]{32}/),
    });
  });

  test('that is not folded is told with image and slot, and nobody folds past it', async () => {
    const deps = await siteWithImage();
    const image = await attach(deps);
    await writeThrough(image, 0, bytes(1, 4096));
    const { imageId } = image.header;
    await flipped(deps, await keyOf(deps), 20);
    const said = {
      code: 'EBADMSG',
      message: expect.stringContaining(`image ${imageId}: slot 0 of epoch ${image.epoch}`),
    };
    await expect(foldTail(deps, await openHeader(deps, spec('vm')))).rejects.toMatchObject(said);
    image.abandon();
    await expect(attach(deps, true)).rejects.toMatchObject(said);
    expect((await openHeader(deps, spec('vm'))).value.root).toBeNull();
  });

  test.each([
    [
      'a block across two objects',
      {
        offset: objectBytes - 512,
        length: 1024,
        block: encodeEntry(entryKind.block, objectBytes - 512, bytes(1, 1024), 'none'),
      },
    ],
    ['a hole beyond the largest image', { offset: 4096, length: 2 ** 52 }],
  ] satisfies [string, NewChange][])(
    'a segment of a hostile peer with %s is refused before it is folded',
    async (_, change) => {
      const deps = await siteWithImage();
      const image = await attach(deps);
      const hostile = { epoch: parseEpochId(image.epoch), seq: 0 };
      await fillSlot(deps, image.header.imageId, hostile, encodeSegment({ ...meta, slot: hostile }, [change]).bytes);
      await expect(foldTail(deps, await openHeader(deps, spec('vm')))).rejects.toMatchObject({ code: 'EBADMSG' });
      image.abandon();
    },
  );

  test('another pack in its place is refused', async () => {
    const deps = await siteWithImage();
    const image = await attach(deps);
    await writeThrough(image, 0, bytes(1, 4096));
    await writeThrough(image, 8192, bytes(2, 4096));
    await image.close();
    const key = (seq: number): string =>
      keyText({ kind: 'slot', imageId: image.header.imageId, epoch: image.epoch, seq });
    const other = await deps.bucket.get(key(1));
    await deps.bucket.delete([key(0)]);
    await deps.bucket.create(key(0), other.status === 'found' ? other.body : new Uint8Array());
    await expect(readImage(deps, 'vm')).rejects.toMatchObject({ code: 'EBADMSG' });
  });
});
