// The write-ahead log: what it promises while the bucket is away, what a crash leaves in it, and what may not get lost silently.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import type { Bucket } from '../../lib/bucket/bucket.ts';
import type { ImageDeps } from '../../lib/image/deps.ts';
import { createImage } from '../../lib/image/images.ts';
import { decodeLog, DiskLog, orphanText, replayLog } from '../../lib/node/wal.ts';
import { memorySite, spec, type MemorySite } from '../image/model.ts';

const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const disk = spec('vm');

let directory: string;
let deps: MemorySite;
const opened: DiskLog[] = [];
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'farside-wal-'));
  deps = await memorySite();
  await createImage(deps, disk, { sizeBytes: 1024 * 1024, objectBytes: 64 * 1024 });
});
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The same site, whose bucket takes no segments: they stay on their way. */
function withoutSegments(): ImageDeps {
  const bucket = new Proxy(deps.bucket, {
    get: (target, name) => {
      if (name === 'create') return (key: string) => (key.includes('/journal/') ? new Promise(() => {}) : undefined);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { ...deps, bucket: bucket satisfies Bucket };
}

const attach = (on: ImageDeps, options: { force?: boolean } = {}): Promise<AttachedImage> =>
  AttachedImage.open(on, disk, {
    owner,
    limits: attachLimitsDefault,
    wal: ({ imageId, epoch }) => {
      const log = new DiskLog(directory, imageId, epoch);
      opened.push(log);
      return log;
    },
    ...options,
  });

/** A writer that flushed twice to the log, never to the bucket, and died. */
async function crashed(): Promise<void> {
  const image = await attach(withoutSegments());
  await image.write(0, Buffer.alloc(4096, 1));
  await image.flush();
  await image.write(4096, Buffer.alloc(4096, 2));
  await image.flush();
  image.abandon();
}

const logs = (): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => /\.wal/.test(name));

describe('a write-ahead log', () => {
  test('makes flushes durable while the bucket is away, and brings them to it after a crash', async () => {
    await crashed();
    expect(await replayLog(deps, disk, directory)).toEqual({ segmentCount: 2, orphans: [] });
    expect(logs()).toEqual([]);
    const image = await attach(deps, { force: true });
    const content = Buffer.from(await image.read(0, 12_288));
    expect(content.equals(Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096, 2), Buffer.alloc(4096)]))).toBe(
      true,
    );
    await image.close();
  });

  test('whose epoch was ended elsewhere is kept and told, once, and changes nothing', async () => {
    await crashed();
    const elsewhere = await AttachedImage.open(deps, disk, { owner, limits: attachLimitsDefault, force: true });
    await elsewhere.close();
    const { segmentCount, orphans } = await replayLog(deps, disk, directory);
    expect({ segmentCount, orphanCount: orphans.length }).toEqual({ segmentCount: 0, orphanCount: 1 });
    expect(orphanText(orphans[0]!)).toMatch(/\.wal\.orphan: 2 segments \(\d+ bytes\)/);
    expect(existsSync(orphans[0]!.path)).toBe(true);
    expect(await replayLog(deps, disk, directory)).toEqual({ segmentCount: 0, orphans: [] });
    const image = await attach(deps, { force: true });
    expect(Buffer.from(await image.read(0, 8192)).equals(Buffer.alloc(8192))).toBe(true);
    await image.close();
  });

  test('that had reached the bucket before the image was detached elsewhere is no orphan', async () => {
    const image = await attach(deps);
    await image.write(0, Buffer.alloc(4096, 1));
    await image.settle();
    image.abandon();
    const elsewhere = await AttachedImage.open(deps, disk, { owner, limits: attachLimitsDefault, force: true });
    await elsewhere.close();
    expect(await replayLog(deps, disk, directory)).toEqual({ segmentCount: 1, orphans: [] });
  });

  test('torn at any byte holds a prefix of its records', async () => {
    await crashed();
    const content = readFileSync(join(directory, logs()[0]!));
    const whole = decodeLog(content)!.records;
    expect(whole.map(({ seq }) => seq)).toEqual([0, 1]);
    for (let length = 0; length < content.length; length++) {
      const left = decodeLog(content.subarray(0, length))?.records ?? [];
      expect(left).toEqual(whole.slice(0, left.length));
      expect(left.length).toBeLessThan(2);
    }
    content[content.length - 1]! ^= 1;
    expect(decodeLog(content)!.records.length).toBe(1);
  });
});
