// What the library writes, an independent reader (reader.ts, made from docs/format.md alone) reads: every byte of images and
// snapshots, however they came about. golden.test.ts holds bytes that must never change.

import { describe, expect, test } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { createDocument, readDocument, replaceDocument } from '../../lib/bucket/document.ts';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { readHeader } from '../../lib/image/access.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { headerSchema } from '../../lib/image/header.ts';
import type { EpochId } from '../../lib/image/ids.ts';
import { createImage, renameImage, resizeImage } from '../../lib/image/images.ts';
import { headerKey } from '../../lib/image/names.ts';
import { fence } from '../../lib/image/journal/slots.ts';
import { createSnapshot, removeSnapshot } from '../../lib/image/snapshots.ts';
import { collect, importBytes, memorySite, openStore, seededRandom, spec, type MemorySite } from '../image/model.ts';
import { Damage } from './pack-reader.ts';
import { readStored, type Get } from './reader.ts';

const KiB = 1024;
const dayMs = 24 * 3600 * 1000;
const content = (seed: number, bytes: number): Uint8Array => seededRandom(seed).bytes(bytes);

/** Log lines: content that compresses. */
function text(bytes: number): Uint8Array {
  const out = Buffer.alloc(bytes);
  for (let at = 0, line = 0; at < bytes; line++)
    at += out.write(`${line} farside wrote block ${line * 37}: ok\n`, at, 'latin1');
  return out;
}

const getFrom =
  (deps: MemorySite): Get =>
  async (key) => {
    const found = await deps.bucket.get(key);
    return found.status === 'found' ? found.body : undefined;
  };

const read = (deps: MemorySite, image: string, snapshot?: string): Promise<Buffer> =>
  readStored(getFrom(deps), { pool: 'rbd', image, ...(snapshot !== undefined && { snapshot }) });

/** Which bytes differ first; undefined when none do. Says more than a diff of a megabyte. */
function firstDifference(a: Uint8Array, b: Uint8Array): string | undefined {
  if (a.length !== b.length) return `${a.length} and ${b.length} bytes`;
  if (Buffer.compare(a, b) === 0) return undefined;
  return `at ${a.findIndex((byte, at) => byte !== b[at])}`;
}

async function packBodies(deps: MemorySite, image: string): Promise<Map<string, Buffer>> {
  const { imageId } = await openStore(deps, image);
  const bodies = new Map<string, Buffer>();
  for await (const { key } of deps.bucket.listAll(prefixes.packs(imageId)))
    bodies.set(key, Buffer.from((await getFrom(deps)(key))!));
  return bodies;
}

async function collectOld(deps: MemorySite, image: string): ReturnType<typeof collect> {
  deps.clock.advance(2 * dayMs);
  return await collect(deps, image);
}

describe('a reader made from the document alone', () => {
  test.each([0, 1, 511, 512, 513, 4096, 64 * KiB, 64 * KiB + 1, 300 * KiB + 77])(
    'reads an image of %i bytes, whatever the size of its leaves',
    async (bytes) => {
      const deps = await memorySite();
      const differences: unknown[] = [];
      for (const objectBytes of [4 * KiB, 64 * KiB, 4096 * KiB]) {
        await importBytes(deps, `disk-${objectBytes}`, content(bytes, bytes), { objectBytes });
        differences.push(firstDifference(await read(deps, `disk-${objectBytes}`), content(bytes, bytes)));
      }
      expect(differences).toEqual([undefined, undefined, undefined]);
    },
  );

  test('reads an image that was never written, and one full of zeros', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('new'), { sizeBytes: 100_001 });
    await importBytes(deps, 'zeros', new Uint8Array(300 * KiB));
    expect(firstDifference(await read(deps, 'new'), new Uint8Array(100_001))).toBeUndefined();
    expect(firstDifference(await read(deps, 'zeros'), new Uint8Array(300 * KiB))).toBeUndefined();
  });

  test('reads sparse images, and blocks of which the ends are zeros', async () => {
    const deps = await memorySite();
    const given = new Uint8Array(3 * 1024 * KiB);
    for (const at of [0, 5 * KiB, 100 * KiB, 1024 * KiB - 512, 3 * 1024 * KiB - 4096]) given.set(content(at, 512), at);
    given.set(content(7, 150 * KiB), 1500 * KiB);
    await importBytes(deps, 'disk', given, { objectBytes: 128 * KiB });
    expect(firstDifference(await read(deps, 'disk'), given)).toBeUndefined();
  });

  test('reads compressed blocks next to raw ones', async () => {
    const deps = await memorySite();
    const given = Buffer.concat([text(500 * KiB), content(1, 200 * KiB), text(77_777)]);
    await importBytes(deps, 'disk', given, { compression: 'auto', objectBytes: 256 * KiB });
    const stored = [...(await packBodies(deps, 'disk')).values()].reduce((sum, body) => sum + body.length, 0);
    expect(stored).toBeLessThan(given.length / 2);
    expect(firstDifference(await read(deps, 'disk'), given)).toBeUndefined();
  });

  test('reads maps of several levels in several packs', async () => {
    const deps = await memorySite({ packBytes: 16 * KiB });
    const given = content(1, 2 * 1024 * KiB + 512);
    await importBytes(deps, 'disk', given, { objectBytes: 4 * KiB });
    expect((await openStore(deps, 'disk')).root).toMatchObject({ level: 2 });
    expect((await packBodies(deps, 'disk')).size).toBeGreaterThan(100);
    expect(firstDifference(await read(deps, 'disk'), given)).toBeUndefined();
  });

  test('reads the head and every snapshot after many small updates', async () => {
    const deps = await memorySite({ packBytes: 64 * KiB });
    const given = content(1, 600 * KiB);
    const taken: Uint8Array[] = [];
    await importBytes(deps, 'disk', given, { objectBytes: 64 * KiB });
    for (let round = 0; round < 8; round++) {
      await createSnapshot(deps, spec('disk'), `s${round}`);
      taken.push(given.slice());
      for (const at of [round * 17, 30 + round, 149 - round * 9]) given.set(content(at, 4 * KiB), at * 4 * KiB);
      given.fill(0, round * 70_000, round * 70_000 + 12_000);
      await importBytes(deps, 'disk', given, { update: true });
    }
    const differences = [firstDifference(await read(deps, 'disk'), given)];
    for (const [round, then] of taken.entries())
      differences.push(firstDifference(await read(deps, 'disk', `s${round}`), then));
    expect(differences).toEqual(Array.from({ length: 9 }));
  });

  test('reads images that shrank and grew: what was cut off reads as zeros', async () => {
    const deps = await memorySite();
    const given = Buffer.from(content(1, 500 * KiB));
    await importBytes(deps, 'disk', given, { objectBytes: 16 * KiB });
    await createSnapshot(deps, spec('disk'), 'before');
    const differences: unknown[] = [];
    for (const [sizeBytes, growsTo] of [
      [400 * KiB + 3, 450 * KiB],
      [64 * KiB, 6400 * KiB],
      [777, 1000],
      [1, 5000],
      [0, 100 * KiB],
    ] as const) {
      await resizeImage(deps, spec('disk'), { sizeBytes, allowShrink: true });
      differences.push(firstDifference(await read(deps, 'disk'), given.subarray(0, sizeBytes)));
      await resizeImage(deps, spec('disk'), { sizeBytes: growsTo });
      const grown = Buffer.alloc(growsTo);
      given.copy(grown, 0, 0, sizeBytes);
      differences.push(firstDifference(await read(deps, 'disk'), grown));
    }
    differences.push(firstDifference(await read(deps, 'disk', 'before'), given));
    expect(differences).toEqual(Array.from({ length: 11 }));
  });

  test('reads a map that grew a level, whose root now stands above the old one', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 10 * KiB), { objectBytes: 4 * KiB });
    const given = Buffer.concat([content(1, 10 * KiB), new Uint8Array(1500 * KiB), content(2, 700)]);
    await importBytes(deps, 'disk', given, { update: true });
    expect((await openStore(deps, 'disk')).root).toMatchObject({ level: 2 });
    expect(firstDifference(await read(deps, 'disk'), given)).toBeUndefined();
  });

  test('reads packs that collection has rewritten without their dead entries', async () => {
    const deps = await memorySite();
    const given = content(1, 1024 * KiB);
    await importBytes(deps, 'disk', given, { objectBytes: 128 * KiB });
    await createSnapshot(deps, spec('disk'), 'gone');
    for (let at = 0; at < 1024 * KiB; at += 256 * KiB) given.set(content(at + 9, 192 * KiB), at);
    await importBytes(deps, 'disk', given, { update: true });
    await createSnapshot(deps, spec('disk'), 'kept');
    await removeSnapshot(deps, spec('disk'), 'gone');
    expect((await collectOld(deps, 'disk')).shrunkPacks).toBeGreaterThan(0);
    expect(firstDifference(await read(deps, 'disk'), given)).toBeUndefined();
    expect(firstDifference(await read(deps, 'disk', 'kept'), given)).toBeUndefined();
  });

  test('finds images by names with any characters, under a new name, and in a namespace', async () => {
    const deps = await memorySite();
    await importBytes(deps, "a.b (c)!é%'", content(1, 700));
    expect(firstDifference(await read(deps, "a.b (c)!é%'"), content(1, 700))).toBeUndefined();
    await renameImage(deps, spec("a.b (c)!é%'"), 'plain');
    expect(firstDifference(await read(deps, 'plain'), content(1, 700))).toBeUndefined();
    await expect(read(deps, "a.b (c)!é%'")).rejects.toThrow(Damage);
    const { imageId } = await openStore(deps, 'plain');
    const stored = (await readDocument(
      deps.bucket,
      headerKey((await openStore(deps, 'plain')).imageId as never),
      headerSchema,
    ))!;
    await replaceDocument(deps.bucket, stored, { ...stored.value, namespace: 'team 1' }, deps.random);
    const key = keyText({ kind: 'name', pool: 'rbd', namespace: 'team 1', image: 'plain' });
    await createDocument(deps.bucket, key, { imageId }, deps.random);
    expect(await readHeader(deps, imageId)).toMatchObject({ value: { namespace: 'team 1' } });
    const found = await readStored(getFrom(deps), { pool: 'rbd', namespace: 'team 1', image: 'plain' });
    expect(firstDifference(found, content(1, 700))).toBeUndefined();
  });
});

describe('an image in use', () => {
  const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
  const limits: AttachLimits = { ...attachLimitsDefault, foldSegmentsMax: 1000 };

  test('is read with the tail of its journal, folded or not, attached, abandoned, or given back', async () => {
    const deps = await memorySite({ blockBytes: 16 * KiB });
    const given = Buffer.from(content(1, 300 * KiB + 100));
    await importBytes(deps, 'disk', given, { objectBytes: 64 * KiB });
    const write = async (image: AttachedImage, offset: number, data: Uint8Array): Promise<void> => {
      await image.write(offset, data);
      given.set(data, offset);
    };
    const differences: unknown[] = [];
    const compare = async (): Promise<unknown> => differences.push(firstDifference(await read(deps, 'disk'), given));
    const first = await AttachedImage.open(deps, spec('disk'), { owner, limits });
    for (let round = 0; round < 4; round++) {
      await write(first, 10 * KiB + round * 40_000, content(20 + round, 33_000));
      await first.zero(100 * KiB + round * 7000, 30_000);
      given.fill(0, 100 * KiB + round * 7000, 100 * KiB + round * 7000 + 30_000);
      await write(first, 300 * KiB, content(30 + round, 100));
      await first.flush();
      await compare();
      if (round === 1) await first.settle();
      await compare();
    }
    await createSnapshot(deps, spec('disk'), 's');
    const then = Buffer.from(given);
    await write(first, 0, content(40, 5000));
    await first.flush();
    first.abandon();
    await compare();
    const second = await AttachedImage.open(deps, spec('disk'), { owner, limits, force: true });
    await write(second, 200 * KiB, content(41, 90_000));
    await second.flush();
    await compare();
    await second.close();
    await compare();
    await collectOld(deps, 'disk');
    await compare();
    differences.push(firstDifference(await read(deps, 'disk', 's'), then));
    expect(differences).toEqual(Array.from({ length: 13 }));
  });

  test('a clone of it is read from its parent’s slots', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('golden'), { sizeBytes: 200 * KiB, objectBytes: 64 * KiB });
    const image = await AttachedImage.open(deps, spec('golden'), { owner, limits });
    await image.write(0, content(1, 150 * KiB));
    await image.flush();
    await createSnapshot(deps, spec('golden'), 's');
    await cloneImage(deps, spec('golden'), { name: 's' }, spec('vm'), { cloneFormat: '2' });
    const clone = await AttachedImage.open(deps, spec('vm'), { owner, limits });
    await clone.write(70 * KiB, content(2, 10 * KiB));
    await clone.flush();
    const expected = Buffer.alloc(200 * KiB);
    expected.set(content(1, 150 * KiB));
    expected.set(content(2, 10 * KiB), 70 * KiB);
    expect(firstDifference(await read(deps, 'vm'), expected)).toBeUndefined();
  });
});

describe('a bit that flipped', () => {
  test('is found wherever it is in a slot', async () => {
    const deps = await memorySite({ blockBytes: 4 * KiB });
    await createImage(deps, spec('disk'), { sizeBytes: 8 * KiB, objectBytes: 4 * KiB });
    const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
    const image = await AttachedImage.open(deps, spec('disk'), { owner, limits: attachLimitsDefault });
    await image.write(0, content(1, 1024));
    await image.flush();
    const { imageId, epoch } = { imageId: image.header.imageId, epoch: image.epoch as EpochId };
    await fence(deps, imageId, { epoch, seq: 0 });
    const bodies = new Map<string, Uint8Array | undefined>();
    const quick: Get = async (key) => {
      if (!bodies.has(key)) bodies.set(key, await getFrom(deps)(key));
      return bodies.get(key);
    };
    await readStored(quick, { pool: 'rbd', image: 'disk' });
    const accepted: string[] = [];
    for (const [key, body] of bodies) {
      if (!key.includes('/journal/') || body === undefined) continue;
      for (let at = 0; at < body.length; at++) {
        body[at]! ^= 1 << (at % 8);
        const damaged = await readStored(quick, { pool: 'rbd', image: 'disk' }).then(
          () => false,
          (error: unknown) => error instanceof Damage,
        );
        body[at]! ^= 1 << (at % 8);
        accepted.push(...(damaged ? [] : [`${key} byte ${at}`]));
      }
    }
    expect(accepted).toEqual([]);
    expect([...bodies].filter(([key, body]) => key.includes('/journal/') && body !== undefined)).toHaveLength(2);
  });

  test('is found wherever it is in a pack', async () => {
    const deps = await memorySite({ packBytes: 2 * KiB });
    await importBytes(deps, 'disk', Buffer.concat([content(1, 3 * KiB), text(4 * KiB)]), {
      objectBytes: 4 * KiB,
      compression: 'auto',
    });
    const bodies = await packBodies(deps, 'disk');
    const get = getFrom(deps);
    const documents = new Map<string, Uint8Array | undefined>();
    const quick: Get = async (key) => {
      const pack = bodies.get(key);
      if (!pack && !documents.has(key)) documents.set(key, await get(key));
      return pack ?? documents.get(key);
    };
    const wanted = { pool: 'rbd', image: 'disk' };
    const accepted: string[] = [];
    for (const [key, body] of bodies) {
      for (let at = 0; at < body.length; at++) {
        const bit = 1 << (at % 8);
        body[at]! ^= bit;
        const damaged = await readStored(quick, wanted).then(
          () => false,
          (error: unknown) => error instanceof Damage,
        );
        body[at]! ^= bit;
        accepted.push(...(damaged ? [] : [`${key} byte ${at}`]));
      }
    }
    expect(accepted).toEqual([]);
    expect(bodies.size).toBeGreaterThan(1);
    expect((await readStored(quick, wanted)).length).toBe(7 * KiB);
  });
});
