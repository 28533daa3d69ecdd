// Shared by the engine's tests: an in-memory site, and content drawn from a seed.

import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import type { Clock } from '../../lib/clock.ts';
import {
  collectLimitsDefault,
  collectStep,
  newRun,
  type CollectLimits,
  type CollectResult,
} from '../../lib/image/collect/collect.ts';
import { settingsDefault, type ImageDeps, type ImageSpec, type Settings } from '../../lib/image/deps.ts';
import type { Random } from '../../lib/random.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { openHeader } from '../../lib/image/access.ts';
import { openStore as storeOf, type PackStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import type { Root } from '../../lib/image/header.ts';

/** mulberry32: a small seeded generator, for content and ids that are the same in every run. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const bytes = (byteCount: number): Uint8Array =>
    Uint8Array.from({ length: byteCount }, () => Math.floor(next() * 256));
  const uuid = (): string => {
    const hex = Buffer.from(bytes(16)).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  };
  return { bytes, uuid, fraction: next };
}

/** A clock that stands still but for sleeps, which pass at once. */
export function steppedClock(startMs = 1_795_000_000_000): Clock & { advance(byMs: number): void } {
  let nowMs = startMs;
  return {
    nowMs: () => nowMs,
    sleep: async (durationMs) => {
      nowMs += durationMs;
    },
    advance: (byMs) => {
      nowMs += byMs;
    },
  };
}

export type MemorySite = ImageDeps & { driver: MemoryDriver; clock: ReturnType<typeof steppedClock> };

/** A site with pool `rbd` on a memory bucket. Packs are small, so that images of a few hundred KiB have many. */
export async function memorySite(settings: Partial<Settings> = {}): Promise<MemorySite> {
  const clock = steppedClock();
  const random = seededRandom(1);
  const driver = new MemoryDriver(clock);
  const bucket = new Bucket(driver, { clock, random });
  await createDocument(bucket, keyText({ kind: 'pool', pool: 'rbd' }), {}, random);
  return { bucket, clock, random, driver, settings: { ...settingsDefault, packBytes: 256 * 1024, ...settings } };
}

export const spec = (image: string, snap?: string): ImageSpec => ({
  pool: 'rbd',
  namespace: '',
  image,
  ...(snap !== undefined && { snap }),
});

/** Imports `content` in chunks, as the command line does. */
export async function importBytes(
  deps: ImageDeps,
  image: string,
  content: Uint8Array,
  options: { update?: boolean; objectBytes?: number; compression?: 'auto' | 'none' } = {},
): ReturnType<Awaited<ReturnType<typeof startImport>>['finish']> {
  const running = await startImport(deps, spec(image), {
    update: options.update ?? false,
    objectBytes: options.objectBytes,
    compression: options.compression ?? 'none',
  });
  for (let at = 0; at < content.length; at += running.chunkBytes)
    await running.write(at, content.slice(at, at + running.chunkBytes));
  return await running.finish(content.length);
}

export async function openStore(
  deps: ImageDeps,
  image: string,
): Promise<{ store: PackStore; root: Root | null; sizeBytes: number; objectBytes: number; imageId: string }> {
  const { value } = await openHeader(deps, spec(image));
  const store = storeOf(deps, value);
  return {
    store,
    root: value.root,
    sizeBytes: value.sizeBytes,
    objectBytes: value.objectBytes,
    imageId: value.imageId,
  };
}

export async function readImage(deps: ImageDeps, image: string): Promise<Uint8Array> {
  const { store, root, objectBytes, sizeBytes } = await openStore(deps, image);
  return await readRange(store, root, objectBytes, { offset: 0, length: sizeBytes });
}

/** Runs a collection to its end, step by step. */
export async function collect(
  deps: ImageDeps,
  image: string,
  limits: CollectLimits = collectLimitsDefault,
): Promise<{ steps: number } & Omit<CollectResult, 'next'>> {
  const { imageId } = await openStore(deps, image);
  const total = { steps: 0, deletedPacks: 0, shrunkPacks: 0, freedBytes: 0 };
  for (let message: CollectResult['next'] = { imageId, run: newRun(deps), step: 0 }; message;) {
    const result: CollectResult = await collectStep(deps, message, limits);
    total.steps++;
    total.deletedPacks += result.deletedPacks;
    total.shrunkPacks += result.shrunkPacks;
    total.freedBytes += result.freedBytes;
    if (total.steps > 1000) throw new Error('a collection without end');
    message = result.next;
  }
  return total;
}
