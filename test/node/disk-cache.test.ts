// Blocks on a disk: there after a restart, whole or not at all, and never more than the disk may hold.

import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { systemClock } from '../../lib/clock.ts';
import { createImage } from '../../lib/image/images.ts';
import { DiskCache } from '../../lib/node/disk-cache.ts';
import { memorySite, seededRandom, spec } from '../image/model.ts';

const root = mkdtempSync(join(tmpdir(), 'farside-cache-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const KiB = 1024;
const pack = '0123456789abcdef0123456789abcdef';
const block = (seed: number, length = 8 * KiB): Uint8Array => seededRandom(seed).bytes(length);
const notes: string[] = [];
let folder = '';
beforeEach(() => {
  folder = join(root, String(readdirSync(root).length));
  notes.length = 0;
});
const open = (bytesMax = 1024 * KiB): Promise<DiskCache> =>
  DiskCache.open(folder, { bytesMax, clock: systemClock, note: (line) => notes.push(line) });

async function filled(count: number, bytesMax?: number): Promise<DiskCache> {
  const cache = await open(bytesMax);
  for (let entry = 0; entry < count; entry++) {
    cache.put(pack, entry, block(entry));
    await cache.settled();
  }
  return cache;
}
const pathOf = (entry: number): string => join(folder, pack.slice(0, 2), `${pack}-${entry}`);
async function held(cache: DiskCache, count: number): Promise<number[]> {
  const found = await Promise.all(Array.from({ length: count }, (_, entry) => cache.get(pack, entry)));
  return found.flatMap((raw, entry) => (raw && Buffer.compare(raw, block(entry)) === 0 ? [entry] : []));
}

describe('a cache on a disk', () => {
  test('gives what was put, also to the next process, and only to its owner', async () => {
    await filled(3);
    const next = await open();
    expect(await held(next, 5)).toEqual([0, 1, 2]);
    expect(statSync(pathOf(0)).mode & 0o777).toBe(0o600);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    await next.settled();
    expect(next.usedBytes).toBe(3 * 16 * KiB);
  });

  test('a block that is cut off, changed, or under the name of another is not there, and is put again', async () => {
    const cache = await filled(4);
    truncateSync(pathOf(0), 100);
    const content = readFileSync(pathOf(1));
    content[5000]! ^= 1;
    writeFileSync(pathOf(1), content);
    writeFileSync(pathOf(2), readFileSync(pathOf(3)));
    expect(await held(cache, 4)).toEqual([3]);
    await systemClock.sleep(50);
    for (const entry of [0, 1, 2]) cache.put(pack, entry, block(entry));
    await cache.settled();
    expect(await held(cache, 4)).toEqual([0, 1, 2, 3]);
  });

  test('what was used longest ago goes first, in one process and over a restart', async () => {
    const cache = await filled(4, 4 * 16 * KiB);
    await cache.get(pack, 0);
    cache.put(pack, 4, block(4));
    await cache.settled();
    await expect.poll(() => readdirSync(join(folder, '01')).length).toBe(4);
    expect(await held(cache, 5)).toEqual([0, 2, 3, 4]);
    const hourAgo = systemClock.nowMs() / 1000 - 3600;
    for (const entry of [2, 3, 4]) utimesSync(pathOf(entry), hourAgo + entry, hourAgo + entry);
    const next = await open(2 * 16 * KiB);
    await next.settled();
    expect(next.usedBytes).toBe(2 * 16 * KiB);
    await expect.poll(() => readdirSync(join(folder, '01')).length).toBe(2);
    expect(await held(next, 5)).toEqual([0, 4]);
  });

  test('what is used while an earlier process is looked for stays, before all that it left', async () => {
    await filled(1);
    for (let entry = 10; entry < 300; entry++) writeFileSync(pathOf(entry), 'old');
    const next = await open(2 * 16 * KiB);
    next.put(pack, 3, block(3));
    next.put(pack, 4, block(4));
    await next.settled();
    await expect.poll(() => readdirSync(join(folder, '01')).length).toBe(2);
    expect(await held(next, 5)).toEqual([3, 4]);
  });

  test('a cache that is smaller than a block holds nothing, and removes what was there', async () => {
    await filled(2);
    const none = await open(0);
    none.put(pack, 2, block(2));
    await none.settled();
    await expect.poll(() => readdirSync(join(folder, '01'))).toEqual([]);
  });

  test('files that are not its own are left alone', async () => {
    await filled(1);
    const foreign = join(folder, '01', 'config.new');
    writeFileSync(foreign, 'precious');
    utimesSync(foreign, 1, 1);
    await (await open()).settled();
    expect(readFileSync(foreign, 'utf8')).toBe('precious');
  });

  test('a folder that others may write to is told of: they could change what is read', async () => {
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    await (await open()).settled();
    expect(notes).toEqual([expect.stringContaining(`chmod 700 ${folder}`)]);
  });

  test('what a killed process did not finish is removed once it is old', async () => {
    await filled(1);
    const [old, young] = [`${pathOf(7)}.1-0.new`, `${pathOf(8)}.1-1.new`];
    for (const path of [old, young]) writeFileSync(path, 'half');
    utimesSync(old, 1, 1);
    await (await open()).settled();
    expect(readdirSync(join(folder, '01')).toSorted()).toEqual([`${pack}-0`, `${pack}-8.1-1.new`]);
  });

  test('a disk that takes nothing is told of once, and nothing fails', async () => {
    const cache = await open();
    writeFileSync(join(folder, '01'), 'in the way');
    for (const entry of [0, 1]) cache.put(pack, entry, block(entry));
    await cache.settled();
    expect(await held(cache, 2)).toEqual([]);
    expect(notes).toHaveLength(1);
    writeFileSync(join(root, 'file'), '');
    await expect(
      DiskCache.open(join(root, 'file'), { bytesMax: 1, clock: systemClock, note: () => {} }),
    ).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('an image that is attached again reads from it, and not from the bucket', async () => {
    const deps = await memorySite();
    await createImage(deps, spec('vm'), { sizeBytes: 1024 * KiB, objectBytes: 256 * KiB });
    const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
    const limits = { ...attachLimitsDefault, readAheadBytes: 0 };
    const content = block(99, 1024 * KiB);
    const attach = (disk?: DiskCache): Promise<AttachedImage> =>
      AttachedImage.open(deps, spec('vm'), { owner, limits, disk });
    const first = await attach();
    await first.write(0, content);
    await first.close();
    const readAll = async (): Promise<number> => {
      const disk = await open(64 * 1024 * KiB);
      const image = await attach(disk);
      const before = deps.bucket.counts().bytesIn;
      for (let at = 0; at < content.length; at += 64 * KiB)
        expect(Buffer.compare(await image.read(at, 64 * KiB), content.subarray(at, at + 64 * KiB))).toBe(0);
      const bytes = deps.bucket.counts().bytesIn - before;
      await disk.settled();
      await image.close();
      return bytes;
    };
    expect(await readAll()).toBeGreaterThan(content.length);
    expect(await readAll()).toBeLessThan(64 * KiB);
  });
});
