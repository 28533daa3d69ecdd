// Clones between two sites: the replica of a clone is a clone of its parent's replica, and moves only what was changed.

import { beforeEach, describe, expect, test } from 'vitest';

import { openHeader } from '../../lib/image/access.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { flattenStep } from '../../lib/image/clones/flatten.ts';
import { imageInfo } from '../../lib/image/info.ts';
import { removeSnapshot, createSnapshot, protectSnapshot, renameSnapshot } from '../../lib/image/snapshots.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  removeMirroredImage,
  resyncImage,
} from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { imageStatus } from '../../lib/mirror/status/status.ts';
import {
  checkReadable,
  headContent,
  headerOf,
  makeImage,
  spec,
  World,
  write,
  type TestSite,
  type WorldOptions,
} from './two-sites.ts';

const KiB = 1024;
const sizeBytes = 1024 * KiB;
let world: World;

/** Image `golden` at a, mirrored to b, with snapshot `s`, and a clone of it. */
async function begin(options: WorldOptions = {}): Promise<void> {
  world = new World(options);
  await world.pair();
  await makeImage(world.a, 'golden', sizeBytes);
  await write(world.a, 'golden', 1, [{ offset: 0, length: sizeBytes }]);
  await createSnapshot(world.a.deps, spec('golden'), 's');
  await cloneImage(world.a.deps, spec('golden'), { name: 's' }, spec('vm'), { cloneFormat: '2' });
  await write(world.a, 'vm', 2, [{ offset: 128 * KiB, length: 8 * KiB }]);
}
beforeEach(() => begin());

const enable = (name: string): Promise<void> => world.run(enableImage(world.a.deps, spec(name), 'snapshot'));
const point = (site: TestSite, name: string): Promise<number> => world.run(createMirrorSnapshot(site.deps, spec(name)));

async function mirrorBoth(): Promise<void> {
  await enable('golden');
  await world.settle();
  await enable('vm');
  await world.settle();
}

async function same(name: string): Promise<void> {
  expect((await headContent(world.a, name)).equals(await headContent(world.b, name))).toBe(true);
  await checkReadable(world.b, name);
}

async function flattenAt(site: TestSite, name: string): Promise<void> {
  while (!(await world.run(flattenStep(site.deps, spec(name)))).done);
}

const exists = (site: TestSite, name: string): Promise<boolean> =>
  openHeader(site.deps, spec(name)).then(
    () => true,
    () => false,
  );

describe('a mirrored clone', () => {
  test('moves only what it changed, keeps its parent, and is a clone there', async () => {
    await enable('golden');
    await world.settle();
    const before = world.wire.packBytes;
    await enable('vm');
    await world.settle();
    expect(world.wire.packBytes - before).toBeLessThan(64 * KiB);
    await same('vm');
    expect((await imageInfo(world.b.deps, spec('vm'))).parent).toMatchObject({
      pool: 'rbd',
      image: 'golden',
      snapshot: 's',
      overlap: sizeBytes,
    });
    expect((await headerOf(world.b, 'golden')).children).toHaveLength(1);
  });

  test('of a snapshot that is in the trash already: the replica of the parent has it for its replica', async () => {
    await removeSnapshot(world.a.deps, spec('golden'), 's');
    await enable('golden');
    await world.settle();
    const before = world.wire.packBytes;
    await enable('vm');
    await world.settle();
    expect(world.wire.packBytes - before).toBeLessThan(64 * KiB);
    await same('vm');
    expect((await headerOf(world.b, 'golden')).snapshots.map(({ namespace }) => namespace.type)).toContain('trash');
  });

  test('waits for its parent, says so, and goes on by ticks', async () => {
    await enable('golden');
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    world.b.waiting.length = 0;
    await enable('vm');
    const { globalId } = (await headerOf(world.a, 'vm')).mirror!;
    await world.run(world.b.tick());
    expect(await exists(world.b, 'vm')).toBe(false);
    for (let minutes = 0; minutes < 4; minutes++) await world.minute();
    await same('vm');
    expect((await headerOf(world.b, 'vm')).mirror?.globalId).toBe(globalId);
    expect((await headerOf(world.b, 'vm')).parent).toBeDefined();
  });

  test('that waits for its parent keeps no other image waiting', async () => {
    await begin({ limits: { pollPendingMax: 1 } });
    await enable('golden');
    await world.settle();
    await write(world.a, 'golden', 9, [{ offset: 0, length: 4 * KiB }]);
    await createSnapshot(world.a.deps, spec('golden'), 'newer');
    await cloneImage(world.a.deps, spec('golden'), { name: 'newer' }, spec('late'), { cloneFormat: '2' });
    await enable('late');
    await world.settle();
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await point(world.a, 'golden');
    expect(await exists(world.b, 'late')).toBe(false);
    for (let minutes = 0; minutes < 8; minutes++) await world.minute();
    for (const name of ['golden', 'late']) await same(name);
  });

  test('says what it waits for', async () => {
    await enable('golden');
    await world.settle();
    await createSnapshot(world.a.deps, spec('golden'), 'later');
    await write(world.a, 'golden', 9, [{ offset: 0, length: 4 * KiB }]);
    await createSnapshot(world.a.deps, spec('golden'), 'newer');
    await cloneImage(world.a.deps, spec('golden'), { name: 'newer' }, spec('late'), {});
    await enable('late');
    await world.settle();
    expect(await exists(world.b, 'late')).toBe(false);
    const status = await world.run(imageStatus(world.a.deps, spec('late')));
    expect(status.peer_sites?.[0]?.description).toBe('waiting for the parent image rbd/golden');
    await point(world.a, 'golden');
    await world.minute();
    await same('late');
  });

  test('a clone of a clone, and one with an empty parent', async () => {
    await mirrorBoth();
    await createSnapshot(world.a.deps, spec('vm'), 's');
    await cloneImage(world.a.deps, spec('vm'), { name: 's' }, spec('leaf'));
    await write(world.a, 'leaf', 3, [{ offset: 0, length: 4 * KiB }]);
    await makeImage(world.a, 'empty', sizeBytes);
    await createSnapshot(world.a.deps, spec('empty'), 's');
    await cloneImage(world.a.deps, spec('empty'), { name: 's' }, spec('of-empty'));
    await write(world.a, 'of-empty', 4, [{ offset: 0, length: 4 * KiB }]);
    await point(world.a, 'vm');
    for (const name of ['leaf', 'empty', 'of-empty']) await enable(name);
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    for (const name of ['leaf', 'of-empty']) await same(name);
    expect((await headerOf(world.b, 'leaf')).parent?.packsIn).toHaveLength(2);
  });

  test('a flatten arrives: the replica flattens itself, and no byte of it crosses the wire', async () => {
    await mirrorBoth();
    await flattenAt(world.a, 'vm');
    await removeMirroredImageOf('golden');
    const before = world.wire.packBytes;
    await point(world.a, 'vm');
    await world.settle();
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    expect(world.wire.packBytes).toBe(before);
    expect((await headerOf(world.b, 'vm')).parent).toBeUndefined();
    await same('vm');
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    expect(await exists(world.b, 'golden')).toBe(false); // removed with its primary, once its clone let go of it
    await same('vm');
  });

  test('a flatten arrives with every message lost', async () => {
    await mirrorBoth();
    await flattenAt(world.a, 'vm');
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await point(world.a, 'vm');
    for (let minutes = 0; minutes < 4; minutes++) await world.minute();
    expect((await headerOf(world.b, 'vm')).parent).toBeUndefined();
    expect((await headerOf(world.b, 'golden')).children).toBeUndefined();
    await same('vm');
  });

  async function removeMirroredImageOf(name: string): Promise<void> {
    await removeSnapshot(world.a.deps, spec(name), 's').catch(() => undefined);
    await world.run(removeMirroredImage(world.a.deps, spec(name)));
    await world.settle();
  }

  test('the parent’s replica is not removed while it has clones, also when its primary is gone', async () => {
    await mirrorBoth();
    // A clone that only b has.
    await cloneImage(world.b.deps, spec('golden'), { name: 's' }, spec('drill'), {});
    await removeMirroredImageOf('vm');
    await removeMirroredImageOf('golden');
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    expect(await exists(world.b, 'vm')).toBe(false);
    expect(await exists(world.b, 'golden')).toBe(true);
    await checkReadable(world.b, 'drill');
    await flattenAt(world.b, 'drill');
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    expect(await exists(world.b, 'golden')).toBe(false);
    await checkReadable(world.b, 'drill');
  });

  test('failover and failback: the other site’s clone keeps its own parent, and only differences cross', async () => {
    await mirrorBoth();
    await world.run(demoteImage(world.a.deps, spec('vm')));
    await world.settle();
    await world.run(promoteImage(world.b.deps, spec('vm')));
    await write(world.b, 'vm', 5, [{ offset: 512 * KiB, length: 4 * KiB }]);
    const before = world.wire.packBytes;
    await point(world.b, 'vm');
    await world.settle();
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    expect(world.wire.packBytes - before).toBeLessThan(64 * KiB);
    await same('vm');
    expect((await imageInfo(world.a.deps, spec('vm'))).parent?.image).toBe('golden');
    await write(world.b, 'golden', 6, []).catch(() => undefined);
  });

  test('a resync of clone and parent keeps what the clones need', async () => {
    await mirrorBoth();
    for (const name of ['golden', 'vm']) {
      await world.run(promoteImage(world.b.deps, spec(name), { force: true }));
      await write(world.b, name, 7, [{ offset: 0, length: 64 * KiB }]);
    }
    await createSnapshot(world.b.deps, spec('golden'), 'lost');
    await cloneImage(world.b.deps, spec('golden'), { name: 'lost' }, spec('of-lost'), { cloneFormat: '2' });
    for (const name of ['golden', 'vm']) {
      await world.run(demoteImage(world.b.deps, spec(name)));
      await world.run(resyncImage(world.b.deps, spec(name)));
    }
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    for (const name of ['golden', 'vm']) await same(name);
    await checkReadable(world.b, 'of-lost');
    const { parent } = await headerOf(world.b, 'of-lost');
    expect((await headerOf(world.b, 'golden')).snapshots.map(({ id }) => id)).toContain(parent!.snapshotId);
  });

  test('a snapshot that is renamed or removed at the primary stays the parent of the replica’s clone', async () => {
    await mirrorBoth();
    const { parent } = await headerOf(world.b, 'vm');
    await renameSnapshot(world.a.deps, spec('golden'), 's', 'renamed');
    await point(world.a, 'golden');
    await world.settle();
    expect((await imageInfo(world.b.deps, spec('vm'))).parent?.snapshot).toBe('renamed');
    await removeSnapshot(world.a.deps, spec('golden'), 'renamed');
    await point(world.a, 'golden');
    await world.settle();
    expect((await headerOf(world.b, 'golden')).snapshots.find(({ id }) => id === parent!.snapshotId)).toMatchObject({
      namespace: { type: 'trash', originalName: 'renamed' },
    });
    await same('vm');
  });
});

describe('enabling and disabling', () => {
  test('a clone wants a mirrored parent, and the parent stays mirrored while the clone is', async () => {
    await expect(enable('vm')).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'mirroring is not enabled for the parent',
    });
    await mirrorBoth();
    await expect(world.run(disableImage(world.a.deps, spec('golden')))).rejects.toMatchObject({
      code: 'EBUSY',
      message: 'mirroring is enabled on one or more children',
    });
    await world.run(disableImage(world.a.deps, spec('vm')));
    await world.run(disableImage(world.a.deps, spec('golden')));
    await world.settle();
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    for (const name of ['vm', 'golden']) expect(await exists(world.b, name)).toBe(false);
    await checkReadable(world.a, 'vm');
  });

  test('a removal that clones forbid leaves the parent mirrored', async () => {
    await protectSnapshot(world.a.deps, spec('golden'), 's');
    await mirrorBoth();
    await expect(world.run(removeMirroredImage(world.a.deps, spec('golden')))).rejects.toMatchObject({
      code: 'ENOTEMPTY',
    });
    expect((await headerOf(world.a, 'golden')).mirror).toBeDefined();
  });

  test('of both at once end with a mirrored parent, or neither', async () => {
    await enable('golden');
    await world.settle();
    const [enabled, disabled] = await world.run(
      Promise.allSettled([
        enableImage(world.a.deps, spec('vm'), 'snapshot'),
        disableImage(world.a.deps, spec('golden')),
      ]),
    );
    const [vm, golden] = [await headerOf(world.a, 'vm'), await headerOf(world.a, 'golden')];
    expect(vm.mirror === undefined || golden.mirror !== undefined).toBe(true);
    expect([enabled.status, disabled.status]).toContain('rejected');
  });
});
