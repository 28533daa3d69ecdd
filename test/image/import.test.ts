import { describe, expect, test } from 'vitest';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { importBytes, memorySite, openStore, readImage, seededRandom, spec } from './model.ts';

const KiB = 1024;
const content = (seed: number, bytes: number): Uint8Array => seededRandom(seed).bytes(bytes);

describe('import', () => {
  test('what was imported reads back, whatever the size', async () => {
    const deps = await memorySite();
    for (const bytes of [0, 1, 511, 512, 513, 64 * KiB, 64 * KiB + 1, 300 * KiB + 77, 3 * 1024 * KiB]) {
      const given = content(bytes, bytes);
      await importBytes(deps, `size-${bytes}`, given, { objectBytes: 128 * KiB });
      expect(Buffer.compare(await readImage(deps, `size-${bytes}`), given)).toBe(0);
    }
  });

  test('zeros and holes cost no data', async () => {
    const deps = await memorySite();
    const given = new Uint8Array(2 * 1024 * KiB);
    given.set(content(1, 4 * KiB), 1024 * KiB);
    const { uploaded } = await importBytes(deps, 'sparse', given, { objectBytes: 128 * KiB });
    expect(uploaded.packs).toBe(1);
    expect(uploaded.bytes).toBeLessThan(5 * KiB);
    expect(Buffer.compare(await readImage(deps, 'sparse'), given)).toBe(0);
  });

  test('text is stored compressed, unless compression is turned off', async () => {
    const deps = await memorySite();
    const given = Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(20_000));
    const packed = await importBytes(deps, 'packed', given, { compression: 'auto' });
    const plain = await importBytes(deps, 'plain', given, { compression: 'none' });
    expect(packed.uploaded.bytes * 10).toBeLessThan(plain.uploaded.bytes);
    expect(Buffer.compare(await readImage(deps, 'packed'), given)).toBe(0);
  });

  test('onto an existing name is EEXIST and leaves the image as it was', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'taken', content(1, 1000));
    await expect(importBytes(deps, 'taken', content(2, 1000))).rejects.toMatchObject({ code: 'EEXIST' });
    expect(Buffer.compare(await readImage(deps, 'taken'), content(1, 1000))).toBe(0);
  });

  test('nothing is visible before it is finished', async () => {
    const deps = await memorySite();
    const running = await startImport(deps, spec('later'), { update: false, compression: 'none' });
    await running.write(0, content(1, 1024 * KiB));
    await expect(readImage(deps, 'later')).rejects.toMatchObject({ code: 'ENOENT' });
    await running.finish(1024 * KiB);
    expect((await readImage(deps, 'later')).length).toBe(1024 * KiB);
  });

  test('an interrupted run is finished by the next, which uploads only what is missing', async () => {
    const deps = await memorySite();
    const given = content(7, 4 * 1024 * KiB);
    const first = await startImport(deps, spec('resumed'), { update: false, compression: 'none' });
    await first.write(0, given.slice(0, 3 * 1024 * KiB));
    const { uploaded } = await importBytes(deps, 'resumed', given);
    expect(uploaded.packsPresent).toBeGreaterThanOrEqual(8);
    expect(uploaded.bytes).toBeLessThan(1.6 * 1024 * KiB);
    expect(Buffer.compare(await readImage(deps, 'resumed'), given)).toBe(0);
  });

  test('two runs of one import at once: one wins, the other is told EEXIST, and the image is whole', async () => {
    const deps = await memorySite();
    const [a, b] = [content(1, 700 * KiB), content(2, 700 * KiB)];
    const outcomes = await Promise.allSettled([importBytes(deps, 'race', a), importBytes(deps, 'race', b)]);
    const winner = outcomes[0].status === 'fulfilled' ? a : b;
    expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(Buffer.compare(await readImage(deps, 'race'), winner)).toBe(0);
  });

  test('a small import is one pack, one header and one name, beside the upload document', async () => {
    const deps = await memorySite();
    const before = deps.bucket.counts();
    await importBytes(deps, 'small', content(1, 8 * KiB));
    expect(deps.bucket.counts().A - before.A).toBe(4);
  });
});

describe('import --update', () => {
  test('brings the image to the content given and uploads about what differs', async () => {
    const deps = await memorySite();
    const given = content(3, 4 * 1024 * KiB);
    await importBytes(deps, 'disk', given, { objectBytes: 128 * KiB });
    const changed = given.slice();
    const random = seededRandom(4);
    for (let i = 0; i < 10; i++) changed.set(random.bytes(4 * KiB), Math.floor(random.fraction() * 1000) * 4 * KiB);
    const { uploaded } = await importBytes(deps, 'disk', changed, { update: true });
    expect(Buffer.compare(await readImage(deps, 'disk'), changed)).toBe(0);
    expect(uploaded.bytes).toBeLessThan(10 * 4 * KiB * 1.25);
  });

  test('equal content uploads nothing', async () => {
    const deps = await memorySite();
    const given = content(3, 1024 * KiB);
    await importBytes(deps, 'disk', given);
    const { root } = await openStore(deps, 'disk');
    const { uploaded } = await importBytes(deps, 'disk', given, { update: true });
    expect(uploaded.packs).toBe(0);
    expect((await openStore(deps, 'disk')).root).toEqual(root);
  });

  test('follows the size both ways; what was cut reads as zeros after growing again', async () => {
    const deps = await memorySite();
    const given = content(3, 1024 * KiB);
    await importBytes(deps, 'disk', given, { objectBytes: 128 * KiB });
    await importBytes(deps, 'disk', given.slice(0, 300 * KiB + 5), { update: true });
    expect(Buffer.compare(await readImage(deps, 'disk'), given.subarray(0, 300 * KiB + 5))).toBe(0);
    const grown = new Uint8Array(600 * KiB);
    grown.set(given.subarray(0, 300 * KiB + 5));
    await importBytes(deps, 'disk', grown, { update: true });
    expect(Buffer.compare(await readImage(deps, 'disk'), grown)).toBe(0);
  });

  test('a second update that began from the same head is ESTALE and changes nothing', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 256 * KiB));
    const late = await startImport(deps, spec('disk'), { update: true, compression: 'none' });
    await late.write(0, content(2, 256 * KiB));
    await importBytes(deps, 'disk', content(3, 256 * KiB), { update: true });
    await expect(late.finish(256 * KiB)).rejects.toMatchObject({ code: 'ESTALE' });
    expect(Buffer.compare(await readImage(deps, 'disk'), content(3, 256 * KiB))).toBe(0);
  });
});

describe('damage', () => {
  test('a flipped bit anywhere in a pack gives EBADMSG naming image and pack, never wrong data', async () => {
    const deps = await memorySite({ cacheBytes: 1 });
    const given = content(5, 96 * KiB);
    await importBytes(deps, 'disk', given);
    const { imageId } = await openStore(deps, 'disk');
    const page = await deps.bucket.list({ prefix: prefixes.packs(imageId), limit: 10 });
    const key = page.objects[0]!.key;
    const packId = key.split('/').at(-1)!;
    expect(key).toBe(keyText({ kind: 'pack', imageId, packId }));
    const found = await deps.driver.get(key);
    expect(found.status).toBe('found');
    const whole = (found as { body: Uint8Array }).body.slice();
    for (let at = 0; at < whole.length; at += 997) {
      const damaged = whole.slice();
      damaged[at]! ^= 1 << (at % 8);
      await deps.driver.put(key, damaged, 'none');
      await expect(readImage(deps, 'disk')).rejects.toMatchObject({
        code: 'EBADMSG',
        message: expect.stringContaining(packId),
      });
    }
    await deps.driver.put(key, whole, 'none');
    expect(Buffer.compare(await readImage(deps, 'disk'), given)).toBe(0);
  });
});
