// Advisory locks, who is shown as holding an image, and the limit of snapshots, on a bucket in memory.

import { beforeEach, describe, expect, test } from 'vitest';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { settingsDefault, type ImageDeps, type ImageSpec } from '../../lib/image/deps.ts';
import { createImage, imageInfo, listImages, openHeader } from '../../lib/image/images.ts';
import { addLock, listLocks, lockersMax, lockOf, removeLock, watchersOf } from '../../lib/image/locks.ts';
import { setSnapshotLimit } from '../../lib/image/snapshot-limit.ts';
import { createSnapshot, purgeSnapshots } from '../../lib/image/snapshots.ts';
import type { Header, MirrorSnapshotState } from '../../lib/image/header.ts';
import { systemRandom } from '../../lib/random.ts';
import { FakeClock } from './fake-clock.ts';

const disk: ImageSpec = { pool: 'rbd', namespace: '', image: 'disk' };
let deps: ImageDeps;

beforeEach(async () => {
  const clock = new FakeClock(Date.UTC(2026, 10, 28));
  const bucket = new Bucket(new MemoryDriver(clock), { clock, random: systemRandom });
  deps = { bucket, clock, random: systemRandom, settings: settingsDefault };
  await createDocument(bucket, keyText({ kind: 'pool', pool: 'rbd' }), {}, systemRandom);
  await createImage(deps, disk, { sizeBytes: 1 << 20 });
});

const code = (expected: string) => expect.objectContaining({ code: expected });

describe('locks', () => {
  test('exclusive: one holder, others are refused until it lets go', async () => {
    const locker = await addLock(deps, disk, { id: 'backup', address: 'host:0/7' });
    expect(locker).toMatch(/^client\.\d+$/);
    expect(await listLocks(deps, disk)).toEqual({
      type: 'exclusive',
      lockers: [{ id: 'backup', locker, address: 'host:0/7' }],
    });
    await expect(addLock(deps, disk, { id: 'backup' })).rejects.toEqual(code('EBUSY'));
    await expect(addLock(deps, disk, { id: 'other', tag: 'readers' })).rejects.toEqual(code('EBUSY'));
    await expect(addLock(deps, disk, { id: 'backup', locker })).rejects.toEqual(code('EEXIST'));
    await expect(removeLock(deps, disk, { id: 'backup', locker: 'client.0' })).rejects.toEqual(code('ENOENT'));
    await removeLock(deps, disk, { id: 'backup', locker });
    expect(await listLocks(deps, disk)).toBeUndefined();
    await addLock(deps, disk, { id: 'other' });
  });

  test('shared: with all that say the same tag, up to a number', async () => {
    await addLock(deps, disk, { id: 'one', tag: 'readers', locker: 'client.1' });
    await addLock(deps, disk, { id: 'one', tag: 'readers', locker: 'client.2' });
    await expect(addLock(deps, disk, { id: 'one', tag: 'others' })).rejects.toEqual(code('EBUSY'));
    await expect(addLock(deps, disk, { id: 'one' })).rejects.toEqual(code('EBUSY'));
    expect(await listLocks(deps, disk)).toMatchObject({ type: 'shared', tag: 'readers' });
    const [row] = (await listImages(deps, 'rbd', '')).images;
    expect(row!.lock_type).toBe('shared');
    for (let count = 2; count < lockersMax; count++) await addLock(deps, disk, { id: String(count), tag: 'readers' });
    await expect(addLock(deps, disk, { id: 'one more', tag: 'readers' })).rejects.toEqual(code('ENOSPC'));
  });

  const mirrored = (header: Header, state: MirrorSnapshotState): Header => ({
    ...header,
    snapshots: [
      {
        id: 1,
        name: '.mirror',
        root: null,
        sizeBytes: 0,
        createdAtMs: 0,
        protected: false,
        namespace: {
          type: 'mirror',
          state,
          complete: true,
          mirrorPeerUuids: [],
          image: { name: '', sizeBytes: 0, features: [], meta: {}, snapshots: [] },
        },
      },
    ],
  });

  test('a replica that follows is held by mirroring, a primary and a demoted image by nobody', async () => {
    const { value: header } = await openHeader(deps, disk);
    const replica = mirrored(header, 'non-primary');
    const [watcher, ...others] = watchersOf(replica);
    expect(others).toEqual([]);
    expect(watchersOf(replica)).toEqual([watcher]);
    expect(lockOf(replica)).toEqual({
      type: 'exclusive',
      lockers: [{ id: `auto ${watcher!.cookie}`, locker: `client.${watcher!.client}`, address: watcher!.address }],
    });
    for (const state of ['primary', 'primary-demoted', 'non-primary-demoted'] as const) {
      expect(watchersOf(mirrored(header, state))).toEqual([]);
      expect(lockOf(mirrored(header, state))).toBeUndefined();
    }
  });

  test('an advisory lock keeps nobody from changing the image', async () => {
    await addLock(deps, disk, { id: 'backup' });
    await createSnapshot(deps, disk, 's');
    expect((await imageInfo(deps, disk)).snapshot_count).toBe(1);
  });
});

describe('snapshot limit', () => {
  test('one snapshot too many is refused; a limit below their number is too; it can be taken away', async () => {
    await setSnapshotLimit(deps, disk, 2);
    expect((await imageInfo(deps, disk)).snapshot_limit).toBe(2);
    await createSnapshot(deps, disk, 'a');
    await createSnapshot(deps, disk, 'b');
    await expect(createSnapshot(deps, disk, 'c')).rejects.toEqual(code('EDQUOT'));
    await expect(setSnapshotLimit(deps, disk, 1)).rejects.toEqual(code('ERANGE'));
    await setSnapshotLimit(deps, disk, undefined);
    await createSnapshot(deps, disk, 'c');
    expect(await imageInfo(deps, disk)).not.toHaveProperty('snapshot_limit');
    await purgeSnapshots(deps, disk);
    await setSnapshotLimit(deps, disk, 0);
    await expect(createSnapshot(deps, disk, 'a')).rejects.toEqual(code('EDQUOT'));
  });
});
