import { describe, expect, test } from 'vitest';

import { mirrorSnapshots, userSnapshots } from '../../lib/image/header.ts';
import { renameImage, resizeImage } from '../../lib/image/images.ts';
import { setMeta } from '../../lib/image/meta.ts';
import { createSnapshot, protectSnapshot, removeSnapshot } from '../../lib/image/snapshots.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  removeMirroredImage,
  resyncImage,
} from '../../lib/mirror/verbs/images.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { imageStatus, poolStatus } from '../../lib/mirror/status/status.ts';
import { expireTrash } from '../../lib/mirror/verbs/trash.ts';
import { checkReadable, headContent, headerOf, makeImage, requests, spec, World, write } from './two-sites.ts';

const kib = 1024;
const sizeBytes = 1024 * kib;

async function paired(): Promise<World> {
  const world = new World();
  await world.pair();
  await world.run(makeImage(world.a, 'disk', sizeBytes));
  await world.run(
    write(world.a, 'disk', 7, [
      { offset: 0, length: 300 * kib },
      { offset: 600 * kib, length: 4 * kib },
    ]),
  );
  return world;
}

async function mirrored(): Promise<World> {
  const world = await paired();
  await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
  await world.settle();
  return world;
}

async function snapshotAndSettle(world: World): Promise<number> {
  const id = await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
  await world.settle();
  return id;
}

async function expectEqual(world: World, name = 'disk'): Promise<void> {
  const [a, b] = [await headContent(world.a, name), await headContent(world.b, name)];
  expect(b.equals(a)).toBe(true);
  await checkReadable(world.b, name);
  expect([...world.a.failures, ...world.b.failures]).toEqual([]);
}

describe('replication', () => {
  test('enabling an image makes an equal, read-only replica', async () => {
    const world = await mirrored();
    await expectEqual(world);
    const header = await headerOf(world.b, 'disk');
    expect(header.mirror?.state).toBe('enabled');
    expect(mirrorSnapshots(header).map(({ namespace }) => namespace.state)).toEqual(['non-primary']);
    await expect(write(world.b, 'disk', 8, [{ offset: 0, length: 512 }])).rejects.toMatchObject({ code: 'EROFS' });
  });

  test('a delta carries what changed and no more', async () => {
    const world = await mirrored();
    await world.run(write(world.a, 'disk', 9, [{ offset: 128 * kib, length: 4 * kib }]));
    world.wire.packBytes = 0;
    await snapshotAndSettle(world);
    await expectEqual(world);
    expect(world.wire.packBytes).toBeLessThan(4 * kib + 4 * kib);
  });

  test('an empty delta moves the replica without any pack', async () => {
    const world = await mirrored();
    world.wire.packBytes = 0;
    const id = await snapshotAndSettle(world);
    expect(world.wire.packBytes).toBe(0);
    expect(mirrorSnapshots(await headerOf(world.b, 'disk')).at(-1)?.namespace.primarySnapId).toBe(id);
  });

  test('name, size, metadata and user snapshots follow, protection too', async () => {
    const world = await mirrored();
    await world.run(createSnapshot(world.a.deps, spec('disk'), 'kept'));
    await world.run(createSnapshot(world.a.deps, spec('disk'), 'gone'));
    await world.run(protectSnapshot(world.a.deps, spec('disk'), 'kept'));
    await world.run(write(world.a, 'disk', 10, [{ offset: 64 * kib, length: 64 * kib }]));
    await snapshotAndSettle(world);
    const first = userSnapshots(await headerOf(world.b, 'disk'));
    expect(first.map((one) => [one.name, one.protected])).toEqual([
      ['kept', true],
      ['gone', false],
    ]);
    await world.run(removeSnapshot(world.a.deps, spec('disk'), 'gone'));
    await world.run(setMeta(world.a.deps, spec('disk'), 'colour', 'blue'));
    await world.run(resizeImage(world.a.deps, spec('disk'), { sizeBytes: 2 * sizeBytes }));
    await world.run(renameImage(world.a.deps, spec('disk'), 'renamed'));
    await world.run(createMirrorSnapshot(world.a.deps, spec('renamed')));
    await world.settle();
    await expectEqual(world, 'renamed');
    const header = await headerOf(world.b, 'renamed');
    expect(header.meta).toEqual({ colour: 'blue' });
    expect(header.sizeBytes).toBe(2 * sizeBytes);
    expect(userSnapshots(header).map((one) => [one.id, one.name])).toEqual([[first[0]!.id, 'kept']]);
    await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('the primary forgets what the replica has acknowledged', async () => {
    const world = await mirrored();
    for (let count = 0; count < 3; count++) await snapshotAndSettle(world);
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))).toHaveLength(1);
    expect(mirrorSnapshots(await headerOf(world.b, 'disk'))).toHaveLength(1);
  });

  test('status says on both sides what rbd says', async () => {
    const world = await mirrored();
    await world.minute();
    const a = await world.run(imageStatus(world.a.deps, spec('disk')));
    expect(a.description).toBe('local image is primary');
    expect(a.peer_sites?.[0]).toMatchObject({ site_name: 'site-b', state: 'up+replaying' });
    const b = await world.run(imageStatus(world.b.deps, spec('disk')));
    expect(b.description).toMatch(/^replaying, \{.*"replay_state":"idle"/);
    expect(b.peer_sites?.[0]).toMatchObject({
      site_name: 'site-a',
      state: 'up+stopped',
      description: 'local image is primary',
    });
    expect((await world.run(poolStatus(world.b.deps, 'rbd', { verbose: true }))).images).toHaveLength(1);
  });
});

describe('roles', () => {
  test('demote, promote, write and fail back', async () => {
    const world = await mirrored();
    await world.run(demoteImage(world.a.deps, spec('disk')));
    await world.settle();
    await world.run(promoteImage(world.b.deps, spec('disk')));
    await world.settle();
    await world.run(write(world.b, 'disk', 11, [{ offset: 256 * kib, length: 8 * kib }]));
    world.wire.packBytes = 0;
    await world.run(createMirrorSnapshot(world.b.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
    expect(world.wire.packBytes).toBeLessThan(16 * kib);
    await world.run(demoteImage(world.b.deps, spec('disk')));
    await world.settle();
    await world.run(promoteImage(world.a.deps, spec('disk')));
    await world.settle();
    await world.run(write(world.a, 'disk', 12, [{ offset: 0, length: 8 * kib }]));
    await snapshotAndSettle(world);
    await expectEqual(world);
  });

  test('an unforced promotion is refused while the primary is primary', async () => {
    const world = await mirrored();
    await expect(world.run(promoteImage(world.b.deps, spec('disk')))).rejects.toMatchObject({ code: 'EBUSY' });
  });

  test('after a split-brain nothing is copied until resync, which moves the difference and keeps the losing head', async () => {
    const world = await mirrored();
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.settle();
    await world.run(write(world.b, 'disk', 13, [{ offset: 512 * kib, length: 16 * kib }]));
    const lost = await headContent(world.b, 'disk');
    await world.run(write(world.a, 'disk', 14, [{ offset: 0, length: 16 * kib }]));
    await snapshotAndSettle(world);
    await world.run(demoteImage(world.b.deps, spec('disk')));
    await world.settle();
    expect((await headContent(world.b, 'disk')).equals(lost)).toBe(true);
    expect((await world.run(imageStatus(world.b.deps, spec('disk')))).description).toBe('split-brain');
    world.wire.packBytes = 0;
    await world.run(resyncImage(world.b.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
    expect(world.wire.packBytes).toBeLessThan(32 * kib);
    const kept = userSnapshots(await headerOf(world.b, 'disk'));
    expect(kept.map(({ namespace }) => namespace)).toEqual([{ type: 'user', keep: true }]);
    await snapshotAndSettle(world);
    expect(userSnapshots(await headerOf(world.b, 'disk'))).toHaveLength(1);
    await world.run(removeSnapshot(world.b.deps, spec('disk'), kept[0]!.name));
    await expectEqual(world);
  });

  test('a resync that is asked for when nobody is primary waits, and lets the demotion arrive', async () => {
    const world = await mirrored();
    await world.run(write(world.a, 'disk', 15, [{ offset: 0, length: 16 * kib }]));
    await world.run(demoteImage(world.a.deps, spec('disk')));
    await world.run(resyncImage(world.b.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
    for (const site of [world.a, world.b])
      expect(await world.run(imageStatus(site.deps, spec('disk')))).toMatchObject({
        state: 'up+unknown',
        description: 'remote image is not primary',
      });
    await world.run(promoteImage(world.b.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
  });

  test('a forced promotion in the middle of a sync leaves the last complete point', async () => {
    const world = await mirrored();
    const complete = await headContent(world.b, 'disk');
    world.b.deps.limits.inlineBytesMax = 0;
    world.b.deps.limits.pieceBytesMax = world.a.deps.limits.pieceBytesMax = 64 * kib;
    await world.run(write(world.a, 'disk', 15, [{ offset: 0, length: 512 * kib }]));
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    while (!(await headerOf(world.b, 'disk')).mirror?.sync) await world.run(world.b.handleNext());
    await world.run(world.b.handleNext());
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.settle();
    expect((await headContent(world.b, 'disk')).equals(complete)).toBe(true);
    expect((await headerOf(world.b, 'disk')).mirror?.sync).toBeUndefined();
    await checkReadable(world.b, 'disk');
  });
});

describe('removal', () => {
  test('disabling on the primary removes the replica', async () => {
    const world = await mirrored();
    await world.run(disableImage(world.a.deps, spec('disk')));
    await world.settle();
    await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await headerOf(world.a, 'disk')).mirror).toBeUndefined();
    // It is kept for a while: see modes.test.ts.
    world.clock.advance(world.b.deps.limits.replicaKeptMs + 1000);
    await world.run(expireTrash(world.b.deps, (await readPool(world.b.deps, 'rbd')).value));
    await world.settle();
    expect((await world.b.deps.bucket.list({ prefix: 'images/', limit: 10 })).objects).toEqual([]);
  });

  test('removing a mirrored primary removes the replica, and the name may be used again', async () => {
    const world = await mirrored();
    await world.run(removeMirroredImage(world.a.deps, spec('disk')));
    await world.settle();
    await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
    await world.run(makeImage(world.a, 'disk', sizeBytes));
    await world.run(write(world.a, 'disk', 20, [{ offset: 0, length: 8 * kib }]));
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    await world.settle();
    await expectEqual(world);
  });

  test('a primary that lost its bucket deletes nothing', async () => {
    const world = await mirrored();
    const page = await world.a.deps.bucket.list({ prefix: 'images/', limit: 1000 });
    await world.a.deps.bucket.delete([...page.objects.map(({ key }) => key), 'pools/rbd/catalog.json']);
    world.a.restart();
    for (let count = 0; count < 70; count++) await world.minute();
    await checkReadable(world.b, 'disk');
    expect((await world.run(imageStatus(world.b.deps, spec('disk')))).description).toBe(
      'remote image no longer exists',
    );
  });

  test('a forced disable makes the replica an ordinary image', async () => {
    const world = await mirrored();
    await expect(world.run(disableImage(world.b.deps, spec('disk')))).rejects.toMatchObject({ code: 'EINVAL' });
    await world.run(disableImage(world.b.deps, spec('disk'), { force: true }));
    await world.settle();
    await world.run(write(world.b, 'disk', 21, [{ offset: 0, length: 512 }]));
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await world.settle();
    const status = await world.run(imageStatus(world.a.deps, spec('disk')));
    expect(status.peer_sites?.[0]?.description).toMatch(/name clash/);
  });
});

describe('requests', () => {
  test('an empty delta costs a handful', async () => {
    const world = await mirrored();
    const [a, b] = [world.a.deps.bucket.counts(), world.b.deps.bucket.counts()];
    await snapshotAndSettle(world);
    const [fromA, fromB] = [requests(a, world.a.deps.bucket.counts()), requests(b, world.b.deps.bucket.counts())];
    expect(fromA.all + fromB.all).toBeLessThanOrEqual(13);
  });

  test('an idle minute costs the same with one image and with forty', async () => {
    const world = await mirrored();
    for (let count = 0; count < 3; count++) await world.minute();
    const idle = async (): Promise<number> => {
      const [a, b] = [world.a.deps.bucket.counts(), world.b.deps.bucket.counts()];
      await world.minute();
      return requests(a, world.a.deps.bucket.counts()).all + requests(b, world.b.deps.bucket.counts()).all;
    };
    const one = await idle();
    for (let count = 0; count < 39; count++) {
      await world.run(makeImage(world.a, `disk-${count}`, sizeBytes));
      await world.run(enableImage(world.a.deps, spec(`disk-${count}`), 'snapshot'));
    }
    await world.settle();
    for (let count = 0; count < 3; count++) await world.minute();
    expect(await idle()).toBe(one);
    expect(one).toBeLessThanOrEqual(12);
  });
});
