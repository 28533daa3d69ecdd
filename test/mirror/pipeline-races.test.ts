// The races of lib/mirror's file heads, one by one: something happens exactly between a handler's last look and its swap.

import { describe, expect, test } from 'vitest';

import { openHeader } from '../../lib/image/access.ts';
import { collectStep, type CollectMessage } from '../../lib/image/collect/collect.ts';
import { createImage } from '../../lib/image/images.ts';
import { mirrorSnapshots } from '../../lib/image/header.ts';
import { createSnapshot, removeSnapshot, rollbackSnapshot } from '../../lib/image/snapshots.ts';
import { createMirrorSnapshot, disableImage, enableImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { disablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { handleSync } from '../../lib/mirror/replica/sync.ts';
import { checkReadable, headContent, headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

type SyncMessage = Extract<Message, { type: 'sync' }>;

const kib = 1024;
const sizeBytes = 256 * kib;

async function mirrored(options: ConstructorParameters<typeof World>[0] = {}): Promise<World> {
  const world = new World(options);
  await world.pair();
  await world.run(makeImage(world.a, 'disk', sizeBytes));
  await world.run(write(world.a, 'disk', 1, [{ offset: 0, length: 64 * kib }]));
  await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
  await world.settle();
  return world;
}

/** Does `work` just before the next put of a key that fits. */
function beforePut(site: TestSite, pattern: RegExp, work: () => Promise<unknown>): void {
  const put = site.driver.put.bind(site.driver);
  let armed = true;
  site.driver.put = async (key, ...rest) => {
    if (armed && pattern.test(key)) {
      armed = false;
      await work();
    }
    return put(key, ...rest);
  };
}

async function collectAll(site: TestSite, name: string): Promise<void> {
  let message: CollectMessage | undefined = {
    imageId: (await headerOf(site, name)).imageId,
    run: site.deps.random.uuid(),
    step: 0,
  };
  for (let count = 0; count < 50 && message; count++) message = (await collectStep(site.deps, message)).next;
}

const newer = async (world: World): Promise<void> => {
  await world.run(write(world.a, 'disk', 2, [{ offset: 32 * kib, length: 64 * kib }]));
  await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
};

describe('a forced promotion overtakes a sync that is about to complete', () => {
  test.each([
    ['a small one', 1e9],
    ['a recorded one', 0],
  ])('%s: the promoted image keeps its content', async (_, inlineBytesMax) => {
    const world = await mirrored({ limits: { inlineBytesMax } });
    const complete = await headContent(world.b, 'disk');
    await newer(world);
    if (inlineBytesMax === 0)
      while (!(await headerOf(world.b, 'disk')).mirror?.sync) await world.run(world.b.handleNext());
    beforePut(world.b, /header\.json$/, () => promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.settle();
    const header = await headerOf(world.b, 'disk');
    expect(mirrorSnapshots(header).at(-1)?.namespace.state).toBe('primary');
    expect(header.mirror?.sync).toBeUndefined();
    expect((await headContent(world.b, 'disk')).equals(complete)).toBe(true);
  });
});

describe('collection at the replica', () => {
  /** The replica holds a pack that nothing reaches and that the next delta needs again. */
  async function withDeadPack(inlineBytesMax: number): Promise<World> {
    const world = await mirrored({ limits: { inlineBytesMax }, settings: { collectGraceMs: 1000 } });
    await world.run(createSnapshot(world.a.deps, spec('disk'), 'before'));
    await world.run(write(world.a, 'disk', 3, [{ offset: 128 * kib, length: 64 * kib }]));
    await world.run(createSnapshot(world.a.deps, spec('disk'), 'hidden'));
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await world.settle();
    const replica = await openHeader(world.b.deps, spec('disk'));
    const hidden = replica.value.root!;
    await world.run(rollbackSnapshot(world.a.deps, spec('disk'), 'before'));
    await world.run(removeSnapshot(world.a.deps, spec('disk'), 'hidden'));
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await world.settle();
    await world.run(write(world.a, 'disk', 3, [{ offset: 128 * kib, length: 64 * kib }]));
    expect((await headerOf(world.a, 'disk')).root?.hash).toBe(hidden.hash);
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    world.clock.advance(5000);
    return world;
  }

  test.each([
    ['a small sync', 1e9],
    ['the record of a larger one', 0],
  ])('%s does not rely on a pack that was collected meanwhile', async (_, inlineBytesMax) => {
    const world = await withDeadPack(inlineBytesMax);
    const before = (await headerOf(world.b, 'disk')).collectGeneration;
    beforePut(world.b, /header\.json$/, () => collectAll(world.b, 'disk'));
    await world.settle();
    expect((await headerOf(world.b, 'disk')).collectGeneration).toBeGreaterThan(before);
    await checkReadable(world.b, 'disk');
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'))).toBe(true);
  });

  test('does not begin while a sync is recorded', async () => {
    const world = await withDeadPack(0);
    while (!(await headerOf(world.b, 'disk')).mirror?.sync) await world.run(world.b.handleNext());
    await world.run(collectAll(world.b, 'disk'));
    expect((await headerOf(world.b, 'disk')).collectGeneration).toBe(0);
    await world.settle();
    await checkReadable(world.b, 'disk');
  });

  test('that died in its sweep is finished by the sync that it holds off', async () => {
    const world = await withDeadPack(1e9);
    const put = world.b.driver.delete.bind(world.b.driver);
    world.b.driver.delete = () => Promise.reject(new Error('crash'));
    await expect(world.run(collectAll(world.b, 'disk'))).rejects.toThrow('crash');
    world.b.driver.delete = put;
    expect((await headerOf(world.b, 'disk')).collect).toBeDefined();
    for (let count = 0; count < 3; count++) await world.minute();
    expect((await headerOf(world.b, 'disk')).collect).toBeUndefined();
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'))).toBe(true);
  });
});

describe('beginnings and ends', () => {
  test('two syncs that begin at once make one image', async () => {
    const world = new World();
    await world.pair();
    await world.run(makeImage(world.a, 'disk', sizeBytes));
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    const wake = world.b.waiting[0]!;
    world.b.waiting.push({ ...wake }, { ...wake });
    await world.run(Promise.all([world.b.handleNext(), world.b.handleNext(), world.b.handleNext()]));
    await world.settle();
    const images = await world.b.deps.bucket.list({ prefix: 'images/', limit: 100 });
    expect(new Set(images.objects.map(({ key }) => key.split('/')[1])).size).toBe(1);
    expect(mirrorSnapshots(await headerOf(world.b, 'disk'))).toHaveLength(1);
  });

  test('a name that is taken while the replica is made leaves the other image alone', async () => {
    const world = new World();
    await world.pair();
    await world.run(makeImage(world.a, 'disk', sizeBytes));
    beforePut(world.b, /names\/_\/disk\.json$/, () => createImage(world.b.deps, spec('disk'), { sizeBytes: 512 }));
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    await world.settle();
    expect((await headerOf(world.b, 'disk')).sizeBytes).toBe(512);
    const images = await world.b.deps.bucket.list({ prefix: 'images/', limit: 100 });
    expect(images.objects).toHaveLength(1);
  });

  test('a rename to a name that is taken keeps the old one, copies the data and says so', async () => {
    const world = await mirrored();
    await world.run(createImage(world.b.deps, spec('other'), { sizeBytes: 512 }));
    const { renameImage } = await import('../../lib/image/images.ts');
    await world.run(write(world.a, 'disk', 5, [{ offset: 0, length: 4 * kib }]));
    await world.run(renameImage(world.a.deps, spec('disk'), 'other'));
    await world.run(createMirrorSnapshot(world.a.deps, spec('other')));
    await world.settle();
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'other'))).toBe(true);
    expect((await headerOf(world.b, 'disk')).mirror?.problem?.description).toMatch(/the name is taken/);
    await world.minute();
    expect((await headerOf(world.b, 'disk')).mirror?.problem).toBeDefined();
  });

  test('an image enabled while its pool is disabled: one of the two steps back', async () => {
    const world = new World();
    await world.pair();
    await world.run(makeImage(world.a, 'disk', sizeBytes));
    const { removePeer } = await import('../../lib/mirror/peers/peer-verbs.ts');
    const { readPool } = await import('../../lib/mirror/pool.ts');
    const pool = (await world.run(readPool(world.a.deps, 'rbd'))).value;
    await world.run(removePeer(world.a.deps, 'rbd', pool.peers[0]!.uuid));
    beforePut(world.a, /header\.json$/, () => disablePool(world.a.deps, 'rbd').catch(() => undefined));
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot')).catch(() => undefined);
    const { value } = await world.run(readPool(world.a.deps, 'rbd'));
    const isMirrored = (await headerOf(world.a, 'disk')).mirror !== undefined;
    expect(isMirrored).toBe(value.mirror !== undefined);
  });

  test('two messages of one removal: the one that comes too late finds nothing to do', async () => {
    const world = await mirrored();
    await world.run(disableImage(world.a.deps, spec('disk')));
    const sync = world.b.waiting.find(({ message }) => message.type === 'sync')!.message as SyncMessage;
    beforePut(world.b, /header\.json$/, async () => {
      while (await world.b.handleNext());
      await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
    });
    expect(await world.run(handleSync(world.b.deps, sync))).toEqual({ kind: 'ack' });
    expect(world.b.failures).toEqual([]);
  });

  test('a promoted image is not removed when the former primary is disabled at that moment', async () => {
    const world = await mirrored();
    await world.run(disableImage(world.a.deps, spec('disk')));
    beforePut(world.b, /header\.json$/, () => promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.settle();
    expect(mirrorSnapshots(await headerOf(world.b, 'disk')).at(-1)?.namespace.state).toBe('primary');
    await checkReadable(world.b, 'disk');
  });
});
