// Snapshot-mode mirroring of images in use: what an attached writer wrote lies in the slots of its journal, and arrives like any
// other pack.

import { describe, expect, test } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault, type AttachLimits } from '../../lib/attach/limits.ts';
import { prefixes } from '../../lib/bucket/keys.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { collectStep, newRun, type CollectMessage, type CollectResult } from '../../lib/image/collect/collect.ts';
import { flattenStep } from '../../lib/image/clones/flatten.ts';
import { parseAnyPackIndex } from '../../lib/image/format/pack.ts';
import { fenceBytes } from '../../lib/image/format/fence.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { PeerEndpoint } from '../../lib/mirror/primary/endpoint.ts';
import { createMirrorSnapshot, demoteImage, enableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { seededRandom } from '../image/model.ts';
import { checkReadable, headContent, headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

const KiB = 1024;
const sizeBytes = 1024 * KiB;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const limits: AttachLimits = { ...attachLimitsDefault, foldSegmentsMax: 1000 };

const bytes = (seed: number, length: number): Uint8Array => seededRandom(seed).bytes(length);

async function worldWith(name: string): Promise<World> {
  const world = new World();
  await world.pair();
  await makeImage(world.a, name, sizeBytes);
  return world;
}

const attach = (world: World, site: TestSite, name: string): Promise<AttachedImage> =>
  world.run(AttachedImage.open(site.deps, spec(name), { owner, limits }));

const point = (world: World, site: TestSite, name: string): Promise<number> =>
  world.run(createMirrorSnapshot(site.deps, spec(name)));

/** One segment. */
async function writeThrough(world: World, image: AttachedImage, offset: number, data: Uint8Array): Promise<void> {
  await world.run(image.write(offset, data));
  await world.run(image.flush());
}

async function mirror(world: World, name: string): Promise<void> {
  await world.run(enableImage(world.a.deps, spec(name), 'snapshot'));
  await world.settle();
}

async function same(world: World, name: string): Promise<void> {
  expect((await headContent(world.a, name)).equals(await headContent(world.b, name))).toBe(true);
  await checkReadable(world.b, name);
}

async function collectAt(world: World, site: TestSite, name: string): Promise<Omit<CollectResult, 'next'>> {
  world.clock.advance(site.deps.settings.collectGraceMs + 1);
  const { imageId } = await headerOf(site, name);
  const total = { deletedPacks: 0, shrunkPacks: 0, freedBytes: 0 };
  for (let message: CollectMessage | undefined = { imageId, run: newRun(site.deps), step: 0 }; message;) {
    const result: CollectResult = await world.run(collectStep(site.deps, message));
    total.deletedPacks += result.deletedPacks;
    total.shrunkPacks += result.shrunkPacks;
    total.freedBytes += result.freedBytes;
    message = result.next;
  }
  return total;
}

async function segmentCount(site: TestSite, name: string): Promise<number> {
  const { imageId } = await headerOf(site, name);
  const { objects } = await site.deps.bucket.list({ prefix: prefixes.journal(imageId), limit: 1000 });
  return objects.filter((object) => object.bytes > fenceBytes).length;
}

describe('a mirrored image that is attached', () => {
  test('arrives by snapshots while it is written, each with everything flushed before', async () => {
    const world = await worldWith('vm');
    const image = await attach(world, world.a, 'vm');
    await writeThrough(world, image, 0, bytes(1, 200 * KiB));
    await mirror(world, 'vm');
    await same(world, 'vm');
    for (let round = 0; round < 3; round++) {
      await writeThrough(world, image, round * 64 * KiB, bytes(10 + round, 40 * KiB));
      await world.run(image.zero(600 * KiB, 4 * KiB));
      await world.run(image.flush());
      await point(world, world.a, 'vm');
      await world.settle();
      await same(world, 'vm');
      expect(Buffer.compare(await world.run(image.read(0, sizeBytes)), await headContent(world.b, 'vm'))).toBe(0);
    }
    const { journal, snapshots } = await headerOf(world.a, 'vm');
    expect(snapshots.at(-1)).toMatchObject({ namespace: { position: journal!.folded } });
    expect(await segmentCount(world.a, 'vm')).toBe(7);
    expect(await segmentCount(world.b, 'vm')).toBe(0);
    await world.run(image.close());
  });

  test('arrives with every message lost, and moves what was written and not all that is stored', async () => {
    const world = await worldWith('vm');
    const image = await attach(world, world.a, 'vm');
    await writeThrough(world, image, 0, bytes(1, sizeBytes));
    await mirror(world, 'vm');
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await writeThrough(world, image, 0, bytes(2, 8 * KiB));
    const before = world.wire.packBytes;
    await point(world, world.a, 'vm');
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    await same(world, 'vm');
    expect(world.wire.packBytes - before).toBeLessThan(64 * KiB);
  });

  test('arrives from slots that a collection made sparse, whole and in part', async () => {
    const world = await worldWith('vm');
    const image = await attach(world, world.a, 'vm');
    await writeThrough(world, image, 0, bytes(1, 512 * KiB));
    await writeThrough(world, image, 0, bytes(2, 384 * KiB));
    await writeThrough(world, image, 128 * KiB, bytes(3, 384 * KiB));
    await world.run(image.settle());
    const swept = await collectAt(world, world.a, 'vm');
    expect(swept).toMatchObject({ deletedPacks: expect.any(Number), shrunkPacks: 1 });
    await mirror(world, 'vm');
    await same(world, 'vm');
    await writeThrough(world, image, 900 * KiB, bytes(4, 100 * KiB));
    await point(world, world.a, 'vm');
    await writeThrough(world, image, 900 * KiB, bytes(5, 96 * KiB));
    await world.settle();
    await point(world, world.a, 'vm');
    await world.settle();
    await collectAt(world, world.a, 'vm');
    await same(world, 'vm');
    await world.run(image.close());
  });

  test('a clone of it finds what it shares in the slots of its parent', async () => {
    const world = await worldWith('golden');
    const image = await attach(world, world.a, 'golden');
    await writeThrough(world, image, 0, bytes(1, 512 * KiB));
    await world.run(createSnapshot(world.a.deps, spec('golden'), 's'));
    await cloneImage(world.a.deps, spec('golden'), { name: 's' }, spec('vm'), { cloneFormat: '2' });
    const clone = await attach(world, world.a, 'vm');
    await writeThrough(world, clone, 100 * KiB, bytes(2, 64 * KiB));
    await mirror(world, 'golden');
    const before = world.wire.packBytes;
    await mirror(world, 'vm');
    await same(world, 'vm');
    expect(world.wire.packBytes - before).toBeLessThan(128 * KiB);
    await world.run(clone.close());
    while (!(await world.run(flattenStep(world.a.deps, spec('vm')))).done);
    await point(world, world.a, 'vm');
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    expect((await headerOf(world.b, 'vm')).parent).toBeUndefined();
    for (const name of ['golden', 'vm']) await same(world, name);
  });

  test('a flattened clone goes to a new replica from packs that lay in its parent’s slots', async () => {
    const world = await worldWith('golden');
    const image = await attach(world, world.a, 'golden');
    await writeThrough(world, image, 0, bytes(1, 512 * KiB));
    await world.run(createSnapshot(world.a.deps, spec('golden'), 's'));
    await cloneImage(world.a.deps, spec('golden'), { name: 's' }, spec('vm'), { cloneFormat: '2' });
    while (!(await world.run(flattenStep(world.a.deps, spec('vm')))).done);
    await world.run(image.close());
    await mirror(world, 'vm');
    await same(world, 'vm');
  });

  test('fails over and back: each side has the other’s segments among its packs', async () => {
    const world = await worldWith('vm');
    const first = await attach(world, world.a, 'vm');
    await writeThrough(world, first, 0, bytes(1, 200 * KiB));
    await mirror(world, 'vm');
    await writeThrough(world, first, 64 * KiB, bytes(2, 8 * KiB));
    await world.run(demoteImage(world.a.deps, spec('vm')));
    await expect(world.run(first.write(0, bytes(3, 512)).then(() => first.flush()))).rejects.toMatchObject({
      code: 'ESHUTDOWN',
    });
    await world.settle();
    await same(world, 'vm');
    await world.run(promoteImage(world.b.deps, spec('vm')));
    const second = await attach(world, world.b, 'vm');
    await writeThrough(world, second, 128 * KiB, bytes(4, 100 * KiB));
    await point(world, world.b, 'vm');
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    await same(world, 'vm');
    await checkReadable(world.a, 'vm');
    await world.run(second.close());
  });

  test('a resync takes the winner’s segments, also those that it had itself in slots and collected', async () => {
    const world = await worldWith('vm');
    const first = await attach(world, world.a, 'vm');
    await writeThrough(world, first, 0, bytes(1, 512 * KiB));
    await mirror(world, 'vm');
    await world.run(promoteImage(world.b.deps, spec('vm'), { force: true }));
    const second = await attach(world, world.b, 'vm');
    await writeThrough(world, second, 300 * KiB, bytes(2, 64 * KiB));
    await writeThrough(world, first, 0, bytes(3, 256 * KiB));
    await world.run(demoteImage(world.a.deps, spec('vm')));
    await world.run(resyncImage(world.a.deps, spec('vm')));
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    await same(world, 'vm');
    await checkReadable(world.a, 'vm');
    await collectAt(world, world.a, 'vm');
    await collectAt(world, world.b, 'vm');
    await same(world, 'vm');
    await checkReadable(world.a, 'vm');
    await world.run(second.close());
  });

  test('peers that read object storage themselves are sent to the slot', async () => {
    const world = await worldWith('vm');
    const image = await attach(world, world.a, 'vm');
    await writeThrough(world, image, 0, bytes(1, 64 * KiB));
    await world.run(image.settle());
    await mirror(world, 'vm');
    const { imageId, journal } = await headerOf(world.a, 'vm');
    const slot = { epoch: journal!.folded.epoch, seq: 0 };
    const [stored] = (await world.a.deps.bucket.list({ prefix: prefixes.journal(imageId), limit: 1 })).objects;
    const body = await world.a.deps.bucket.get(stored!.key);
    const { packId } = parseAnyPackIndex(body.status === 'found' ? body.body : new Uint8Array());
    Object.assign(world.a.driver, { presignGet: async (key: string) => `https://storage.test/${key}` });
    const { peers } = (await readPool(world.a.deps, 'rbd')).value;
    const endpoint = new PeerEndpoint(world.a.deps, 'rbd', peers[0]!);
    expect(await endpoint.packPlace(imageId, packId, slot)).toEqual({
      status: 'elsewhere',
      url: `https://storage.test/${stored!.key}`,
    });
    expect(await endpoint.packPlace(imageId, packId)).toEqual({
      status: 'elsewhere',
      url: expect.stringContaining('/packs/'),
    });
    expect(await endpoint.packPlace(imageId, packId, { ...slot, seq: 7 })).toEqual({ status: 'absent' });
    expect(await endpoint.packStream(imageId, packId, slot)).toMatchObject({ status: 'found' });
    expect(await endpoint.pack(imageId, packId)).toEqual({ status: 'absent' });
  });

  test('writes by import and by an attached writer, one after the other, arrive together', async () => {
    const world = await worldWith('vm');
    await write(world.a, 'vm', 1, [{ offset: 0, length: 128 * KiB }]);
    const image = await attach(world, world.a, 'vm');
    await writeThrough(world, image, 64 * KiB, bytes(2, 16 * KiB));
    await world.run(image.close());
    await write(world.a, 'vm', 3, [{ offset: 72 * KiB, length: 8 * KiB }]);
    await mirror(world, 'vm');
    await same(world, 'vm');
  });
});
