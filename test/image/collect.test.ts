import { describe, expect, test } from 'vitest';
import { prefixes } from '../../lib/bucket/keys.ts';
import { collectLimitsDefault, collectStep, newRun, type CollectResult } from '../../lib/image/collect/collect.ts';
import type { ImageDeps } from '../../lib/image/deps.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { resizeImage } from '../../lib/image/images.ts';
import { createSnapshot, removeSnapshot, rollbackSnapshot } from '../../lib/image/snapshots.ts';
import { updateHeader } from '../../lib/image/access.ts';
import {
  collect,
  importBytes,
  memorySite,
  openStore,
  readImage,
  seededRandom,
  spec,
  type MemorySite,
} from './model.ts';

const KiB = 1024;
const dayMs = 24 * 3600 * 1000;
const content = (seed: number, bytes: number): Uint8Array => seededRandom(seed).bytes(bytes);

const later = (deps: MemorySite): void => deps.clock.advance(2 * dayMs);

async function packCount(deps: ImageDeps, image: string): Promise<number> {
  const { imageId } = await openStore(deps, image);
  return (await deps.bucket.list({ prefix: prefixes.packs(imageId), limit: 1000 })).objects.length;
}

describe('collect', () => {
  test('removes what nothing reaches, and nothing else', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 1024 * KiB));
    await createSnapshot(deps, spec('disk'), 'keep');
    await importBytes(deps, 'disk', content(2, 1024 * KiB), { update: true });
    await importBytes(deps, 'disk', content(3, 1024 * KiB), { update: true });
    later(deps);
    const before = await packCount(deps, 'disk');
    const { deletedPacks } = await collect(deps, 'disk');
    expect(deletedPacks).toBeGreaterThanOrEqual(4);
    expect(await packCount(deps, 'disk')).toBe(before - deletedPacks);
    expect(Buffer.compare(await readImage(deps, 'disk'), content(3, 1024 * KiB))).toBe(0);
    await rollbackSnapshot(deps, spec('disk'), 'keep');
    expect(Buffer.compare(await readImage(deps, 'disk'), content(1, 1024 * KiB))).toBe(0);
  });

  test('leaves young packs alone: they may belong to an upload under way', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 512 * KiB));
    const running = await startImport(deps, spec('disk'), { update: true, compression: 'none' });
    await running.write(0, content(2, 512 * KiB));
    expect((await collect(deps, 'disk')).deletedPacks).toBe(0);
    await running.finish(512 * KiB);
    expect(Buffer.compare(await readImage(deps, 'disk'), content(2, 512 * KiB))).toBe(0);
  });

  test('an upload that outlived the grace is refused instead of committed without its packs, and succeeds when repeated', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 1024 * KiB));
    const running = await startImport(deps, spec('disk'), { update: true, compression: 'none' });
    await running.write(0, content(2, 1024 * KiB));
    later(deps);
    expect((await collect(deps, 'disk')).deletedPacks).toBeGreaterThan(0);
    await expect(running.finish(1024 * KiB)).rejects.toMatchObject({ code: 'EAGAIN' });
    expect(Buffer.compare(await readImage(deps, 'disk'), content(1, 1024 * KiB))).toBe(0);
    await importBytes(deps, 'disk', content(2, 1024 * KiB), { update: true });
    expect(Buffer.compare(await readImage(deps, 'disk'), content(2, 1024 * KiB))).toBe(0);
  });

  test('packs that are mostly dead are rewritten without their dead entries; references stay as they are', async () => {
    const deps = await memorySite();
    const given = content(1, 1024 * KiB);
    await importBytes(deps, 'disk', given, { objectBytes: 128 * KiB });
    given.set(content(2, 640 * KiB), 64 * KiB);
    for (let at = 0; at < 1024 * KiB; at += 256 * KiB) given.set(content(at + 9, 192 * KiB), at);
    await importBytes(deps, 'disk', given, { update: true });
    const { root } = await openStore(deps, 'disk');
    later(deps);
    const { shrunkPacks, freedBytes } = await collect(deps, 'disk');
    expect(shrunkPacks).toBeGreaterThan(0);
    expect(freedBytes).toBeGreaterThan(256 * KiB);
    expect((await openStore(deps, 'disk')).root).toEqual(root);
    expect(Buffer.compare(await readImage(deps, 'disk'), given)).toBe(0);
  });

  test('goes on over many bounded steps, and any step may be repeated', async () => {
    const deps = await memorySite({ packBytes: 64 * KiB });
    await importBytes(deps, 'disk', content(1, 2048 * KiB), { objectBytes: 64 * KiB });
    await importBytes(deps, 'disk', content(2, 2048 * KiB), { update: true });
    later(deps);
    const { imageId } = await openStore(deps, 'disk');
    const limits = { nodesMax: 3, packsMax: 16, shrinksMax: 1 };
    const first = { imageId, run: newRun(deps), step: 0 };
    await collectStep(deps, first, limits);
    const { steps, deletedPacks } = await collect(deps, 'disk', limits);
    expect(steps).toBeGreaterThan(10);
    expect(deletedPacks).toBeGreaterThan(20);
    await collectStep(deps, first, limits);
    expect(Buffer.compare(await readImage(deps, 'disk'), content(2, 2048 * KiB))).toBe(0);
  });

  test('marks roots that appear while it runs: a rollback to a snapshot that is then removed loses nothing', async () => {
    const deps = await memorySite({ packBytes: 64 * KiB });
    await importBytes(deps, 'disk', content(1, 1024 * KiB), { objectBytes: 64 * KiB });
    await createSnapshot(deps, spec('disk'), 's');
    await importBytes(deps, 'disk', content(2, 1024 * KiB), { update: true });
    const { imageId } = await openStore(deps, 'disk');
    await updateHeader(deps, spec('disk'), (header) => header);
    later(deps);
    const limits = { ...collectLimitsDefault, nodesMax: 2 };
    let message: CollectResult['next'] = { imageId, run: newRun(deps), step: 0 };
    for (let step = 0; message; step++) {
      if (step === 3) await importBytes(deps, 'disk', content(3, 1024 * KiB), { update: true });
      if (step === 4) await rollbackSnapshot(deps, spec('disk'), 's');
      if (step === 5) await removeSnapshot(deps, spec('disk'), 's');
      message = (await collectStep(deps, message, limits)).next;
      expect(step).toBeLessThan(1000);
    }
    expect(Buffer.compare(await readImage(deps, 'disk'), content(1, 1024 * KiB))).toBe(0);
  });

  test('leaves an image with an unfinished sync alone', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 512 * KiB));
    await importBytes(deps, 'disk', content(2, 512 * KiB), { update: true });
    const sync = {
      syncId: 's',
      peerUuid: 'p',
      primaryMirrorUuid: 'm',
      primaryImageId: 'i',
      targetSnapId: 1,
      targetCreatedAtMs: 0,
      startedAtMs: 0,
      resync: false,
    };
    await updateHeader(deps, spec('disk'), (header) => ({
      ...header,
      mirror: { mode: 'snapshot', state: 'enabled', globalId: 'g', sync },
    }));
    later(deps);
    expect((await collect(deps, 'disk')).deletedPacks).toBe(0);
  });

  test('shrinking an image to the same size as before an earlier collection is safe', async () => {
    const deps = await memorySite();
    await importBytes(deps, 'disk', content(1, 1024 * KiB), { objectBytes: 128 * KiB });
    await createSnapshot(deps, spec('disk'), 's');
    for (let round = 0; round < 3; round++) {
      await resizeImage(deps, spec('disk'), { sizeBytes: 200 * KiB + 3, allowShrink: true });
      expect(Buffer.compare(await readImage(deps, 'disk'), content(1, 1024 * KiB).subarray(0, 200 * KiB + 3))).toBe(0);
      await rollbackSnapshot(deps, spec('disk'), 's');
      later(deps);
      await collect(deps, 'disk');
    }
    expect(Buffer.compare(await readImage(deps, 'disk'), content(1, 1024 * KiB))).toBe(0);
  });
});
