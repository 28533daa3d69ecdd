// Mirroring by the journal: points where something happens to the image, segments in between. At every moment the replica holds
// what its primary held at some position, and nothing that the primary's writer flushed is passed over.

import { describe, expect, test } from 'vitest';

import type { Clock } from '../../lib/clock.ts';
import { mirrorSnapshots, userSnapshots } from '../../lib/image/header.ts';
import { createImage, renameImage, resizeImage, updateFeatures } from '../../lib/image/images.ts';
import { setMeta } from '../../lib/image/meta.ts';
import {
  createSnapshot,
  listSnapshots,
  protectSnapshot,
  removeSnapshot,
  renameSnapshot,
  rollbackSnapshot,
} from '../../lib/image/snapshots.ts';
import { setSnapshotLimit } from '../../lib/image/snapshot-limit.ts';
import { updateMirroredFeatures } from '../../lib/mirror/verbs/by-feature.ts';
import { enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { imageStatus } from '../../lib/mirror/status/status.ts';
import { demoteImage, disableImage, enableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { advance, attach, expectEqual, headOf, kib, mirrored, paired, put, sizeBytes } from './journal-world.ts';
import { contentOf, headerOf, spec, write, type TestSite } from './two-sites.ts';

const userState = async (site: TestSite, image = 'disk'): Promise<unknown> => {
  const header = await headerOf(site, image);
  return {
    name: header.name,
    sizeBytes: header.sizeBytes,
    features: header.features,
    meta: header.meta,
    limit: header.snapshotLimit,
    snapshots: userSnapshots(header).map(({ name, root, protected: isProtected, sizeBytes: size }) => ({
      name,
      hash: root?.hash,
      isProtected,
      size,
    })),
  };
};

describe('a replica in journal mode', () => {
  test('enabling turns journaling on and makes an equal replica', async () => {
    const world = await mirrored();
    await expectEqual(world);
    const [a, b] = [await headerOf(world.a, 'disk'), await headerOf(world.b, 'disk')];
    expect(a.mirror?.mode).toBe('journal');
    expect(a.features).toContain('journaling');
    expect(b.mirror).toMatchObject({ mode: 'journal', state: 'enabled' });
    expect(b.features).toContain('journaling');
  });

  test('what a writer flushes is at the replica with the next wake-up, without a point', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    const points = mirrorSnapshots(await headerOf(world.a, 'disk')).length;
    for (let step = 0; step < 5; step++) {
      await put(world, image, step * 16 * kib, step + 1);
      await advance(world, world.a);
      await expectEqual(world);
    }
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))).toHaveLength(points);
    expect((await headerOf(world.b, 'disk')).journal?.state).toBe('following');
    expect(world.wire.segmentBytes).toBeGreaterThan(0);
  });

  test('an image in use is copied from where it is, and followed from there without a gap', async () => {
    const world = await paired();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await put(world, image, 64 * kib, 2);
    await world.run(enableImage(world.a.deps, spec('disk'), 'journal'));
    await put(world, image, 128 * kib, 3);
    await world.settle();
    await put(world, image, 0, 4);
    await advance(world, world.a);
    await expectEqual(world);
  });

  test('detaching is a point: the replica is whole without its journal', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 32 * kib, 7);
    await world.settle();
    await world.run(image.close());
    await world.settle();
    await expectEqual(world);
    expect((await headerOf(world.b, 'disk')).journal?.state).toBe('closed');
  });

  test('what was copied as a segment does not cross the wire again with the point that holds it', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    const noise = world.a.deps.random.bytes(256 * kib);
    await world.run(image.write(256 * kib, Buffer.from(noise)).then(() => image.flush()));
    await advance(world, world.a);
    expect(world.wire.segmentBytes).toBeGreaterThan(256 * kib);
    world.wire = { packBytes: 0, segmentBytes: 0, calls: 0 };
    await world.run(createSnapshot(world.a.deps, spec('disk'), 's'));
    await world.settle();
    await expectEqual(world);
    expect(world.wire.packBytes + world.wire.segmentBytes).toBeLessThan(64 * kib);
  });

  test('snapshots, sizes, metadata and names come to their place among the writes', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    const { deps } = world.a;
    const events: (() => Promise<unknown>)[] = [
      () => createSnapshot(deps, spec('disk'), 'one'),
      () => protectSnapshot(deps, spec('disk'), 'one'),
      () => resizeImage(deps, spec('disk'), { sizeBytes: 2 * sizeBytes }),
      () => setMeta(deps, spec('disk'), 'key', 'value'),
      () => createSnapshot(deps, spec('disk'), 'two'),
      () => renameSnapshot(deps, spec('disk'), 'two', 'second'),
      () => setSnapshotLimit(deps, spec('disk'), 5),
      () => updateFeatures(deps, spec('disk'), ['object-map', 'fast-diff'], 'disable'),
      () => removeSnapshot(deps, spec('disk'), 'second'),
    ];
    for (const [step, event] of events.entries()) {
      await put(world, image, step * 16 * kib, step + 1);
      await world.run(event());
      await put(world, image, step * 16 * kib + 8 * kib, step + 101);
      await advance(world, world.a);
      await expectEqual(world);
      expect(await userState(world.b)).toEqual(await userState(world.a));
    }
    await world.run(image.close());
    await world.run(rollbackSnapshot(deps, spec('disk'), 'one'));
    await world.settle();
    await expectEqual(world);
    await world.run(renameImage(deps, spec('disk'), 'renamed'));
    await world.settle();
    await expectEqual(world, 'renamed');
  });

  test('with every wake-up and message lost, ticks alone bring it up to date', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await put(world, image, 0, 1);
    await advance(world, world.a, { record: true });
    await world.minute();
    await world.minute();
    await expectEqual(world);
    // Not recorded, as what follows a record closely is not.
    await put(world, image, 0, 2);
    await world.minute();
    await expectEqual(world);
  });

  test('doubled and shuffled messages change nothing', async () => {
    const world = await mirrored();
    world.b.delivery = { lost: () => false, doubledShare: 0.5, shuffled: true };
    const image = await attach(world, world.a);
    for (let step = 0; step < 8; step++) {
      await put(world, image, (step % 3) * 16 * kib, step + 1);
      if (step % 3 === 1) await world.run(createSnapshot(world.a.deps, spec('disk'), `s${step}`));
      await advance(world, world.a, { record: step % 2 === 0 });
    }
    await world.minute();
    await expectEqual(world);
    expect(await userState(world.b)).toEqual(await userState(world.a));
  });

  test('a point older than what the replica has folded takes nothing back', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await put(world, image, 16 * kib, 2);
    await advance(world, world.a);
    const before = await headOf(world, world.b); // folds
    const { journal } = await headerOf(world.b, 'disk');
    await world.run(setMeta(world.a.deps, spec('disk'), 'key', 'value'));
    await world.settle();
    const header = await headerOf(world.b, 'disk');
    expect(header.meta).toEqual({ key: 'value' });
    expect(header.journal?.folded).toEqual(journal?.folded);
    expect((await headOf(world, world.b)).equals(before)).toBe(true);
    await put(world, image, 32 * kib, 3);
    await advance(world, world.a);
    await expectEqual(world);
  });

  test('a replica that missed a whole epoch goes on from a point of the next', async () => {
    const world = await mirrored();
    world.b.isDown = true;
    const first = await attach(world, world.a);
    await put(world, first, 0, 1);
    await world.run(first.close());
    const second = await attach(world, world.a);
    await put(world, second, 16 * kib, 2);
    await advance(world, world.a, { record: true });
    world.b.isDown = false;
    await world.minute();
    await world.minute();
    await expectEqual(world);
    expect((await headerOf(world.b, 'disk')).journal?.folded.epoch).toBe(second.epoch);
  });
});

describe('what is shown', () => {
  test('the status tells positions, and points are no snapshots', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    await put(world, image, 0, 1);
    await advance(world, world.a);
    await world.minute();
    await put(world, image, 16 * kib, 2);
    await advance(world, world.a);
    await world.minute();
    const local = await world.run(imageStatus(world.b.deps, spec('disk')));
    const json = /^replaying, (\{.*\})$/.exec(local.description ?? '')?.[1] ?? '{}';
    const position = { entry_tid: 2, object_number: 2, tag_tid: 1 };
    expect(JSON.parse(json)).toMatchObject({
      entries_behind_primary: 0,
      non_primary_position: position,
      primary_position: position,
    });
    expect(Object.keys(JSON.parse(json)).slice(0, 2)).toEqual(['bytes_per_second', 'entries_behind_primary']);
    const primary = await world.run(imageStatus(world.a.deps, spec('disk')));
    expect(primary.snapshots).toBeUndefined();
    expect(primary.peer_sites?.[0]?.description).toBe(local.description);
    expect(await world.run(listSnapshots(world.a.deps, spec('disk'), { all: true }))).toEqual([]);
  });

  test('what a writer whose clock is ahead has sealed is followed at once, where no delay is asked for', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    const { clock } = world;
    (world.b.deps as { clock: Clock }).clock = {
      nowMs: () => clock.nowMs() - 10_000,
      sleep: (durationMs) => clock.sleep(durationMs),
    };
    await put(world, image, 512 * kib, 7);
    await advance(world, world.a);
    await expectEqual(world);
  });

  test('a replica that is late on purpose takes a segment when it is old enough', async () => {
    const world = await mirrored();
    await world.run(setMeta(world.a.deps, spec('disk'), 'conf_rbd_mirroring_replay_delay', '300'));
    const image = await attach(world, world.a);
    await world.settle();
    await put(world, image, 512 * kib, 7);
    await advance(world, world.a);
    expect((await headOf(world, world.b)).readUInt8(512 * kib)).toBe(0);
    for (let minutes = 0; minutes < 6; minutes++) await world.minute();
    expect((await headOf(world, world.b)).readUInt8(512 * kib)).toBe(7);
  });
});

describe('a replica that is late on purpose', () => {
  test('has a snapshot, and what was written before and after it, when each is old enough', async () => {
    const world = await mirrored();
    await world.run(setMeta(world.a.deps, spec('disk'), 'conf_rbd_mirroring_replay_delay', '300'));
    await world.settle();
    const image = await attach(world, world.a);
    for (let minutes = 0; minutes < 6; minutes++) await world.minute();
    await put(world, image, 512 * kib, 7);
    await world.run(createSnapshot(world.a.deps, spec('disk'), 's'));
    await put(world, image, 640 * kib, 8);
    await world.run(image.close());
    const seen = async (): Promise<unknown> => {
      const head = await headOf(world, world.b);
      const names = userSnapshots(await headerOf(world.b, 'disk')).map(({ name }) => name);
      return [head.readUInt8(512 * kib), head.readUInt8(640 * kib), names];
    };
    await world.settle();
    for (let minutes = 0; minutes < 4; minutes++) {
      await world.minute();
      expect(await seen()).toEqual([0, 0, []]);
    }
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    expect(await seen()).toEqual([7, 8, ['s']]);
    await expectEqual(world);
    expect((await headerOf(world.b, 'disk')).journal?.state).toBe('closed');
  });
});

describe('mode pool', () => {
  test('images with journaling are mirrored for that alone, until they lose it', async () => {
    const world = await paired();
    await world.run(createImage(world.a.deps, spec('old'), { sizeBytes, features: ['exclusive-lock', 'journaling'] }));
    await world.run(enablePool(world.a.deps, 'rbd', 'pool'));
    await world.run(enablePool(world.b.deps, 'rbd', 'pool'));
    await world.settle();
    expect((await headerOf(world.b, 'old')).mirror).toMatchObject({ mode: 'journal', state: 'enabled' });
    await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
    await world.run(updateMirroredFeatures(world.a.deps, spec('disk'), ['journaling'], 'enable'));
    await world.settle();
    await expectEqual(world);
    await world.run(updateMirroredFeatures(world.a.deps, spec('disk'), ['journaling'], 'disable'));
    await world.settle();
    expect((await headerOf(world.a, 'disk')).mirror).toBeUndefined();
    expect((await headerOf(world.a, 'disk')).features).not.toContain('journaling');
    await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(disableImage(world.a.deps, spec('old'))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('in mode image a mirrored image keeps the feature that it needs', async () => {
    const world = await mirrored();
    await expect(updateMirroredFeatures(world.a.deps, spec('disk'), ['journaling'], 'disable')).rejects.toMatchObject({
      code: 'EINVAL',
    });
  });
});

describe('roles in journal mode', () => {
  test('demote and promote hand over everything that was flushed; failback likewise', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await world.run(demoteImage(world.a.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
    await world.run(promoteImage(world.b.deps, spec('disk')));
    await world.settle();
    const other = await attach(world, world.b);
    await put(world, other, 16 * kib, 2);
    await advance(world, world.b);
    await expectEqual(world);
    expect((await headOf(world, world.a)).readUInt8(16 * kib)).toBe(2);
    await world.run(demoteImage(world.b.deps, spec('disk')));
    await world.settle();
    await world.run(promoteImage(world.a.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
  });

  test('a forced promotion keeps every segment that had arrived', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await advance(world, world.a);
    world.a.isDown = true;
    await put(world, image, 16 * kib, 2); // never leaves the site
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    const content = await headOf(world, world.b);
    expect(content.readUInt8(0)).toBe(1);
    expect((await headerOf(world.b, 'disk')).journal?.state).toBe('closed');
    await world.run(write(world.b, 'disk', 9, [{ offset: 512 * kib, length: 8 * kib }]));
  });

  test('after a forced promotion the old primary is split, and a resync keeps what it had as a snapshot', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await advance(world, world.a);
    world.a.isDown = true;
    await put(world, image, 16 * kib, 2);
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.run(write(world.b, 'disk', 9, [{ offset: 512 * kib, length: 8 * kib }]));
    world.a.isDown = false;
    await world.run(demoteImage(world.a.deps, spec('disk')));
    const lost = await headOf(world, world.a);
    await world.minute();
    await world.minute();
    expect((await headerOf(world.a, 'disk')).mirror?.problem?.description).toBe('split-brain');
    await world.run(resyncImage(world.a.deps, spec('disk')));
    await world.settle();
    await world.minute();
    await expectEqual(world);
    const header = await headerOf(world.a, 'disk');
    const kept = userSnapshots(header).find(({ name }) => name.startsWith('before-resync'));
    expect(kept).toBeDefined();
    expect((await contentOf(world.a, header, kept!.root, kept!.sizeBytes)).equals(lost)).toBe(true);
  });

  test('a resync of a replica that lost nothing leaves no snapshot behind', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await advance(world, world.a);
    await world.run(resyncImage(world.b.deps, spec('disk')));
    await world.settle();
    await world.minute();
    await put(world, image, 16 * kib, 2);
    await advance(world, world.a);
    await expectEqual(world);
    const header = await headerOf(world.b, 'disk');
    expect(header.mirror?.resyncRequestedAtMs).toBeUndefined();
    expect(userSnapshots(header)).toEqual([]);
  });

  test('a resync that was decided about a replica does not touch the primary that it has become', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    await put(world, image, 0, 1);
    await advance(world, world.a);
    const { delivery } = world.b;
    world.b.delivery = { ...delivery, lost: () => true };
    await world.run(image.close()); // a point that does not get here yet
    world.b.delivery = delivery;
    await world.run(resyncImage(world.b.deps, spec('disk')));
    // Right before the resync's fold takes effect, the replica is promoted.
    const { driver } = world.b;
    const store = driver.put.bind(driver);
    let isPromoted = false;
    driver.put = async (key, body, condition) => {
      if (!isPromoted && key.endsWith('/header.json')) {
        isPromoted = true;
        await promoteImage(world.b.deps, spec('disk'), { force: true });
      }
      return await store(key, body, condition);
    };
    await world.settle();
    await world.minute();
    expect(isPromoted).toBe(true);
    expect(mirrorSnapshots(await headerOf(world.b, 'disk')).at(-1)?.namespace.state).toBe('primary');
  });

  test('disabling turns journaling off and ends the replica', async () => {
    const world = await mirrored();
    await world.run(disableImage(world.a.deps, spec('disk')));
    await world.settle();
    expect((await headerOf(world.a, 'disk')).features).not.toContain('journaling');
    await expect(headerOf(world.b, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
