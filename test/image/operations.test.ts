// What every operation on headers does, refuses and costs, on a bucket in memory.

import { beforeEach, describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument, readDocument, replaceDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import type { ErrorCode } from '../../lib/errors.ts';
import { FarsideError } from '../../lib/errors.ts';
import { readHeader, updateHeader } from '../../lib/image/access.ts';
import { settingsDefault, type ImageDeps, type ImageSpec } from '../../lib/image/deps.ts';
import { headerSchema, type Header, type MirrorNamespace, type Snapshot } from '../../lib/image/header.ts';
import {
  createImage,
  imageInfo,
  listImages,
  openHeader,
  removeImage,
  renameImage,
  resizeImage,
} from '../../lib/image/images.ts';
import { getMeta, listMeta, removeMeta, setMeta } from '../../lib/image/meta.ts';
import { claimName, freeName, headerKey } from '../../lib/image/names.ts';
import { removeStep } from '../../lib/image/remove.ts';
import {
  createSnapshot,
  listSnapshots,
  protectSnapshot,
  purgeSnapshots,
  removeSnapshot,
  renameSnapshot,
  rollbackSnapshot,
  unprotectSnapshot,
} from '../../lib/image/snapshots.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { FakeClock } from './fake-clock.ts';

const GiB = 2 ** 30;
const TiB = 2 ** 40;
const pool = 'rbd';
const spec = (image: string, snap?: string): ImageSpec => ({
  pool,
  namespace: '',
  image,
  ...(snap === undefined ? {} : { snap }),
});

let clock: FakeClock;
let deps: ImageDeps;
let driver: MemoryDriver;

beforeEach(async () => {
  clock = new FakeClock(Date.UTC(2026, 10, 23, 7, 6, 9));
  driver = new MemoryDriver(clock);
  deps = {
    bucket: new Bucket(driver, { clock, random: systemRandom }),
    clock,
    random: systemRandom,
    settings: settingsDefault,
  };
  await createDocument(deps.bucket, keyText({ kind: 'pool', pool }), {}, systemRandom);
});

const create = (image: string, sizeBytes = GiB) => createImage(deps, spec(image), { sizeBytes });
const refused = async (work: Promise<unknown>, code: ErrorCode): Promise<FarsideError> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(FarsideError);
  expect(error).toMatchObject({ code });
  return error as FarsideError;
};
const keys = async (prefix: string): Promise<string[]> => {
  const found: string[] = [];
  for await (const object of deps.bucket.listAll(prefix)) found.push(object.key);
  return found;
};
const counted = async (work: () => Promise<unknown>): Promise<number[]> => {
  const before = deps.bucket.counts();
  await work();
  const after = deps.bucket.counts();
  return [after.A - before.A, after.B - before.B, after.free - before.free];
};

const mirrorSnapshot = (id: number, namespace: Partial<MirrorNamespace>): Snapshot => ({
  id,
  name: `.mirror.${id}`,
  root: null,
  sizeBytes: GiB,
  createdAtMs: clock.nowMs(),
  protected: false,
  namespace: {
    type: 'mirror',
    state: 'non-primary',
    complete: true,
    mirrorPeerUuids: [],
    image: { name: 'x', sizeBytes: GiB, features: [], meta: {}, snapshots: [] },
    ...namespace,
  },
});

/** Makes the image a replica, or what `namespace` says. */
const mirror = async (
  image: string,
  namespace: Partial<MirrorNamespace> = {},
  more: Partial<Header> = {},
): Promise<void> => {
  const change = (header: Header): Header => ({
    ...header,
    ...more,
    mirror: { mode: 'snapshot', state: 'enabled', globalId: 'g1' },
    snapshots: [...header.snapshots, mirrorSnapshot(header.nextSnapshotId, namespace)],
    nextSnapshotId: header.nextSnapshotId + 1,
  });
  await updateHeader(deps, spec(image), change, { byMirroring: true });
};

describe('create', () => {
  test('create: the image can be opened by its name', async () => {
    const id = await create('a');
    const { value } = await openHeader(deps, spec('a'));
    expect(value).toMatchObject({
      imageId: id,
      name: 'a',
      sizeBytes: GiB,
      objectBytes: 4 * 2 ** 20,
      root: null,
      snapshots: [],
    });
    expect(headerSchema.parse(value)).toEqual(value);
  });

  test('create: names with spaces, percent signs, dots and unicode are kept apart', async () => {
    const names = ['a b', 'a%20b', 'ä', '...', 'n-x', '_', '漢字', 'a.json', 'A', 'a+b', '💾'];
    for (const name of names) await create(name);
    for (const name of names) expect((await openHeader(deps, spec(name))).value.name).toBe(name);
    const { images } = await listImages(deps, pool, '');
    expect(images.map((one) => one.image).toSorted()).toEqual(names.toSorted());
  });

  test('create: one name in two namespaces is two images', async () => {
    await create('a');
    await refused(createImage(deps, { pool, namespace: 'ns', image: 'a' }, { sizeBytes: 1 }), 'ENOENT');
    await createDocument(deps.bucket, keyText({ kind: 'namespace', pool, namespace: 'ns' }), {}, systemRandom);
    await createImage(deps, { pool, namespace: 'ns', image: 'a' }, { sizeBytes: 1 });
    expect((await openHeader(deps, { pool, namespace: 'ns', image: 'a' })).value.sizeBytes).toBe(1);
    expect((await openHeader(deps, spec('a'))).value.sizeBytes).toBe(GiB);
  });

  test.each([0, GiB, 16 * TiB])(
    'create: an image of %d bytes costs two puts and a look at the pool',
    async (sizeBytes) => {
      expect(await counted(() => create('a', sizeBytes))).toEqual([2, 1, 0]);
    },
  );

  test('create: two racing creations of one name, one wins, nothing is left of the other', async () => {
    const results = await Promise.allSettled([create('a'), create('a'), create('a')]);
    expect(results.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    for (const one of results) {
      const code = one.status === 'rejected' ? (one.reason as FarsideError).code : 'EEXIST';
      expect(code).toBe('EEXIST');
    }
    expect(await keys('images/')).toHaveLength(1);
  });

  test('create: refusals', async () => {
    await create('a');
    await refused(create('a'), 'EEXIST');
    const noPool = await refused(
      createImage(deps, { pool: 'nopool', namespace: '', image: 'a' }, { sizeBytes: 1 }),
      'ENOENT',
    );
    expect(noPool.message).toBe("error opening pool 'nopool'");
    await refused(createImage(deps, spec('b'), { sizeBytes: 1, objectBytes: 5000 }), 'EDOM');
    await refused(createImage(deps, spec('b'), { sizeBytes: 1, objectBytes: 2048 }), 'EDOM');
    await refused(createImage(deps, spec('b'), { sizeBytes: -1 }), 'EINVAL');
    await refused(createImage(deps, spec('b'), { sizeBytes: 1.5 }), 'EINVAL');
    await refused(createImage(deps, spec('b'), { sizeBytes: 2 ** 53 - 1 }), 'EFBIG');
    for (const name of ['', '.', '..', 'a/b', 'a@b', 'a\nb', 'x'.repeat(256)]) await refused(create(name), 'EINVAL');
    expect(await keys('images/')).toHaveLength(1);
  });

  test('open: a missing image and a missing pool are told apart', async () => {
    expect((await refused(openHeader(deps, spec('no')), 'ENOENT')).message).toBe('error opening image no');
    const noPool = await refused(openHeader(deps, { pool: 'nopool', namespace: '', image: 'x' }), 'ENOENT');
    expect(noPool.message).toBe("error opening pool 'nopool'");
  });
});

describe('rename', () => {
  test('rename: the image has the new name only', async () => {
    const id = await create('a');
    await renameImage(deps, spec('a'), 'b');
    expect((await openHeader(deps, spec('b'))).value.imageId).toBe(id);
    await refused(openHeader(deps, spec('a')), 'ENOENT');
    expect((await listImages(deps, pool, '')).images.map((one) => one.image)).toEqual(['b']);
  });

  test('rename: the old name is free for another image, and there and back works', async () => {
    const first = await create('a');
    await renameImage(deps, spec('a'), 'b');
    const second = await create('a');
    expect(second).not.toBe(first);
    await renameImage(deps, spec('a'), 'c');
    await renameImage(deps, spec('b'), 'a');
    expect((await openHeader(deps, spec('a'))).value.imageId).toBe(first);
    expect((await openHeader(deps, spec('c'))).value.imageId).toBe(second);
  });

  test('rename: refusals', async () => {
    await create('a');
    await create('b');
    await refused(renameImage(deps, spec('a'), 'b'), 'EEXIST');
    await refused(renameImage(deps, spec('a'), 'a'), 'EEXIST');
    await refused(renameImage(deps, spec('no'), 'c'), 'ENOENT');
    await refused(renameImage(deps, spec('no'), 'no'), 'ENOENT');
    await refused(renameImage(deps, spec('a'), 'x/y'), 'EINVAL');
    await mirror('a');
    await refused(renameImage(deps, spec('a'), 'c'), 'EROFS');
  });

  test('rename: one that died before the header changed leaves the old name in force, and may be repeated', async () => {
    const id = await create('a');
    await claimName(deps, spec('b'), id);
    expect((await openHeader(deps, spec('a'))).value.imageId).toBe(id);
    await refused(openHeader(deps, spec('b')), 'ENOENT');
    expect((await listImages(deps, pool, '')).images.map((one) => one.image)).toEqual(['a']);
    await renameImage(deps, spec('a'), 'b');
    expect((await openHeader(deps, spec('b'))).value.imageId).toBe(id);
  });

  test('rename: one that died after the header changed is finished by repeating it', async () => {
    const id = await create('a');
    await claimName(deps, spec('b'), id);
    await updateHeader(deps, id, (header) => ({ ...header, name: 'b' }));
    await refused(openHeader(deps, spec('a')), 'ENOENT');
    await renameImage(deps, spec('a'), 'b');
    expect((await openHeader(deps, spec('b'))).value.imageId).toBe(id);
  });

  test('rename: the name that a dead rename had claimed can be taken by a new image', async () => {
    const renamed = await create('a');
    await claimName(deps, spec('b'), renamed);
    const created = await create('b');
    expect((await openHeader(deps, spec('b'))).value.imageId).toBe(created);
    expect((await openHeader(deps, spec('a'))).value.imageId).toBe(renamed);
    await refused(renameImage(deps, spec('a'), 'b'), 'EEXIST');
  });

  test('rename: a creation that takes the name while the rename runs makes the rename fail, not lose its image', async () => {
    const renamed = await create('a');
    const read = await readHeader(deps, renamed);
    await claimName(deps, spec('b'), renamed);
    await create('b');
    const late = read && (await replaceDocument(deps.bucket, read, { ...read.value, name: 'b' }, systemRandom));
    expect(late).toBeUndefined();
  });

  test('rename: racing renames of two images to one name, one wins and both stay reachable', async () => {
    for (let round = 0; round < 20; round++) {
      const [first, second] = [await create(`a${round}`), await create(`b${round}`)];
      const results = await Promise.allSettled([
        renameImage(deps, spec(`a${round}`), `c${round}`),
        renameImage(deps, spec(`b${round}`), `c${round}`),
      ]);
      expect(results.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
      const names = [(await readHeader(deps, first))!.value.name, (await readHeader(deps, second))!.value.name];
      for (const [index, name] of names.entries()) {
        expect((await openHeader(deps, spec(name))).value.imageId).toBe([first, second][index]);
      }
    }
  });

  test('freeing a name: a rename or a trash mv that is late does not take it from its image that has it again', async () => {
    const imageId = await create('a');
    await renameImage(deps, spec('a'), 'b');
    await renameImage(deps, spec('b'), 'a');
    await freeName(deps, spec('a'), imageId); // the first rename ends only now
    expect((await openHeader(deps, spec('a'))).value.imageId).toBe(imageId);
    await freeName(deps, spec('b'), imageId);
    await create('b');
  });

  test('names: freeing a name that another image has does nothing', async () => {
    const id = await create('a');
    await freeName(deps, spec('a'), 'f'.repeat(24));
    expect((await openHeader(deps, spec('a'))).value.imageId).toBe(id);
  });
});

describe('resize', () => {
  test('resize: growing is one compare-and-swap', async () => {
    await create('a');
    expect(await counted(() => resizeImage(deps, spec('a'), { sizeBytes: 16 * TiB }))).toEqual([1, 2, 0]);
    expect((await imageInfo(deps, spec('a'))).size).toBe(16 * TiB);
  });

  test('resize: to the same size writes nothing', async () => {
    await create('a');
    expect(await counted(() => resizeImage(deps, spec('a'), { sizeBytes: GiB }))).toEqual([0, 2, 0]);
  });

  test('resize: refusals', async () => {
    await create('a');
    const shrink = await refused(resizeImage(deps, spec('a'), { sizeBytes: 1 }), 'EINVAL');
    expect(shrink.message).toBe('shrinking an image is only allowed with the --allow-shrink flag');
    await refused(resizeImage(deps, spec('a'), { sizeBytes: 2 ** 53 - 1 }), 'EFBIG');
    await refused(resizeImage(deps, spec('no'), { sizeBytes: 1 }), 'ENOENT');
    await mirror('a');
    await refused(resizeImage(deps, spec('a'), { sizeBytes: 2 * GiB }), 'EROFS');
  });

  test('resize: an empty image shrinks to nothing and grows again', async () => {
    await create('a');
    await resizeImage(deps, spec('a'), { sizeBytes: 0, allowShrink: true });
    expect(await imageInfo(deps, spec('a'))).toMatchObject({ size: 0, objects: 0 });
    await resizeImage(deps, spec('a'), { sizeBytes: 5 });
    expect(await imageInfo(deps, spec('a'))).toMatchObject({ size: 5, objects: 1 });
  });
});

describe('remove', () => {
  test('remove: the name is gone at once, the objects after, the header last', async () => {
    const id = await create('a');
    for (let index = 0; index < 30; index++) {
      await deps.bucket.create(
        keyText({ kind: 'pack', imageId: id, packId: index.toString(16).padStart(32, '0') }),
        new Uint8Array(1),
      );
    }
    const sent: Message[] = [];
    await removeImage(deps, spec('a'), { queue: { send: async (messages) => void sent.push(...messages) } });
    expect(sent).toEqual([{ type: 'remove', imageId: id }]);
    await refused(openHeader(deps, spec('a')), 'ENOENT');
    expect(await readHeader(deps, id)).toBeUndefined();
    expect(await removeStep(deps, id)).toBe('done');
    expect(await keys('images/')).toEqual([]);
    expect(await removeStep(deps, id)).toBe('done');
  });

  test('remove: a large image is deleted in bounded steps, each of which may be repeated', async () => {
    const id = await create('a');
    for (let index = 0; index < 2500; index++) {
      await deps.bucket.create(
        keyText({ kind: 'pack', imageId: id, packId: index.toString(16).padStart(32, '0') }),
        new Uint8Array(1),
      );
    }
    await removeImage(deps, spec('a'));
    expect(await removeStep(deps, id, 1)).toBe('more');
    expect(await removeStep(deps, id, 1)).toBe('more');
    expect(await keys(headerKey(id))).toHaveLength(1);
    expect(await removeStep(deps, id, 1)).toBe('done');
    expect(await keys('images/')).toEqual([]);
  });

  test('remove: a step on an image that is not being removed deletes nothing', async () => {
    const id = await create('a');
    expect(await removeStep(deps, id)).toBe('done');
    expect(await openHeader(deps, spec('a'))).toBeDefined();
  });

  test('remove: the name can be used again before the objects are gone, and late steps leave the new image alone', async () => {
    const old = await create('a');
    await removeImage(deps, spec('a'));
    const fresh = await create('a');
    await removeStep(deps, old);
    await removeStep(deps, old);
    expect((await openHeader(deps, spec('a'))).value.imageId).toBe(fresh);
  });

  test('remove: one that died after marking the header is continued by repeating it, or overtaken by a new image', async () => {
    const id = await create('a');
    await updateHeader(deps, id, (header) => ({ ...header, removing: true }));
    await refused(openHeader(deps, spec('a')), 'ENOENT');
    const sent: Message[] = [];
    const queue = { send: async (messages: readonly Message[]) => void sent.push(...messages) };
    await refused(removeImage(deps, spec('a'), { queue }), 'ENOENT');
    expect(sent).toHaveLength(1);
    expect(await removeStep(deps, id)).toBe('done');
    await refused(removeImage(deps, spec('a')), 'ENOENT');
    await create('b');
    await updateHeader(deps, spec('b'), (header) => ({ ...header, removing: true }));
    const fresh = await create('b');
    expect((await openHeader(deps, spec('b'))).value.imageId).toBe(fresh);
  });

  test('remove: refusals', async () => {
    await refused(removeImage(deps, spec('no')), 'ENOENT');
    await create('a');
    await createSnapshot(deps, spec('a'), 's');
    expect((await refused(removeImage(deps, spec('a')), 'ENOTEMPTY')).message).toMatch(
      /^image has snapshots - not removing/,
    );
    await create('replica');
    await mirror('replica');
    expect((await refused(removeImage(deps, spec('replica')), 'EBUSY')).message).toBe('image still has watchers');
    await create('primary');
    await mirror('primary', { state: 'primary' });
    await refused(removeImage(deps, spec('primary')), 'EBUSY');
    await removeImage(deps, spec('replica'), { byMirroring: true });
    await refused(openHeader(deps, spec('replica')), 'ENOENT');
  });
});

describe('snapshots', () => {
  test.each([GiB, TiB])('snap create: of an image of %d bytes costs two reads and one put', async (sizeBytes) => {
    await create('a', sizeBytes);
    expect(await counted(() => createSnapshot(deps, spec('a'), 's'))).toEqual([1, 2, 0]);
  });

  test('snap create: ids rise and are not used again', async () => {
    await create('a');
    expect(await createSnapshot(deps, spec('a'), 's1')).toBe(1);
    expect(await createSnapshot(deps, spec('a'), 's2')).toBe(2);
    await removeSnapshot(deps, spec('a'), 's2');
    expect(await createSnapshot(deps, spec('a'), 's2')).toBe(3);
  });

  test('snap create: racing creations of different names all land, of one name one does', async () => {
    await create('a');
    await Promise.all(['s1', 's2', 's3', 's4'].map((name) => createSnapshot(deps, spec('a'), name)));
    const results = await Promise.allSettled([
      createSnapshot(deps, spec('a'), 't'),
      createSnapshot(deps, spec('a'), 't'),
    ]);
    expect(results.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    const listed = await listSnapshots(deps, spec('a'));
    expect(listed.map((one) => one.name).toSorted()).toEqual(['s1', 's2', 's3', 's4', 't']);
    expect(new Set(listed.map((one) => one.id)).size).toBe(5);
  });

  test('snapshots: every refusal has its code', async () => {
    await create('a');
    await createSnapshot(deps, spec('a'), 's');
    await createSnapshot(deps, spec('a'), 't');
    await refused(createSnapshot(deps, spec('a'), 's'), 'EEXIST');
    await refused(createSnapshot(deps, spec('no'), 's'), 'ENOENT');
    await refused(createSnapshot(deps, spec('a'), 'x@y'), 'EINVAL');
    await refused(renameSnapshot(deps, spec('a'), 's', 't'), 'EEXIST');
    await refused(renameSnapshot(deps, spec('a'), 'no', 'u'), 'ENOENT');
    await refused(renameSnapshot(deps, spec('a'), 's', ''), 'EINVAL');
    await refused(unprotectSnapshot(deps, spec('a'), 's'), 'EINVAL');
    await protectSnapshot(deps, spec('a'), 's');
    await refused(protectSnapshot(deps, spec('a'), 's'), 'EBUSY');
    await refused(removeSnapshot(deps, spec('a'), 's'), 'EBUSY');
    await refused(rollbackSnapshot(deps, spec('a'), 'no'), 'ENOENT');
    await refused(imageInfo(deps, spec('a', 'no')), 'ENOENT');
    await unprotectSnapshot(deps, spec('a'), 's');
    await removeSnapshot(deps, spec('a'), 's');
    await refused(removeSnapshot(deps, spec('a'), 's'), 'ENOENT');
  });

  test('rollback: content and size are those of the snapshot again', async () => {
    await create('a');
    await createSnapshot(deps, spec('a'), 's');
    await resizeImage(deps, spec('a'), { sizeBytes: 2 * GiB });
    await rollbackSnapshot(deps, spec('a'), 's');
    expect((await imageInfo(deps, spec('a'))).size).toBe(GiB);
  });

  test('purge: removes what is not protected, keeps mirror snapshots, and says what is left', async () => {
    await create('a');
    for (const name of ['s', 't', 'u']) await createSnapshot(deps, spec('a'), name);
    await mirror('a', { state: 'primary' });
    await protectSnapshot(deps, spec('a'), 't');
    expect(await purgeSnapshots(deps, spec('a'))).toEqual({ removed: ['s', 'u'], protected: ['t'] });
    expect((await listSnapshots(deps, spec('a'), { all: true })).map((one) => one.name)).toEqual(['t', '.mirror.4']);
  });

  test('I8: a non-primary image accepts no user change, whichever it is', async () => {
    await create('a');
    await createSnapshot(deps, spec('a'), 's');
    await mirror('a');
    await refused(createSnapshot(deps, spec('a'), 't'), 'EROFS');
    await refused(removeSnapshot(deps, spec('a'), 's'), 'EROFS');
    await refused(removeSnapshot(deps, spec('a'), 'no'), 'ENOENT');
    await refused(renameSnapshot(deps, spec('a'), 's', 't'), 'EROFS');
    await refused(protectSnapshot(deps, spec('a'), 's'), 'EROFS');
    await refused(rollbackSnapshot(deps, spec('a'), 's'), 'EROFS');
    await refused(purgeSnapshots(deps, spec('a')), 'EROFS');
    await refused(setMeta(deps, spec('a'), 'k', 'v'), 'EROFS');
    await refused(removeMeta(deps, spec('a'), 'k'), 'EROFS');
  });

  test.each(['non-primary', 'primary-demoted', 'non-primary-demoted'] as const)(
    'I8: newest mirror snapshot %s makes an image read-only',
    async (state) => {
      await create('a');
      await mirror('a', { state });
      await refused(createSnapshot(deps, spec('a'), 't'), 'EROFS');
      await mirror('a', { state: 'primary' });
      await createSnapshot(deps, spec('a'), 't');
    },
  );

  test('snapshots: what a resync kept belongs to the user, on a replica too', async () => {
    await create('a');
    await createSnapshot(deps, spec('a'), 'kept');
    const keep = (header: Header): Header => ({
      ...header,
      snapshots: header.snapshots.map((one) => ({
        ...one,
        protected: true,
        namespace: { type: 'user' as const, keep: true },
      })),
    });
    await updateHeader(deps, spec('a'), keep);
    await mirror('a');
    await unprotectSnapshot(deps, spec('a'), 'kept');
    await renameSnapshot(deps, spec('a'), 'kept', 'old');
    await removeSnapshot(deps, spec('a'), 'old');
    expect(await listSnapshots(deps, spec('a'))).toEqual([]);
  });
});

describe('what is shown', () => {
  test('info: has exactly the fields of rbd, in its order', async () => {
    const id = await create('s1', 256 * 2 ** 20);
    const info = await imageInfo(deps, spec('s1'));
    expect(JSON.stringify(info)).toBe(
      JSON.stringify({
        name: 's1',
        id,
        size: 268435456,
        objects: 64,
        order: 22,
        object_size: 4194304,
        snapshot_count: 0,
        block_name_prefix: `rbd_data.${id}`,
        format: 2,
        features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'],
        op_features: [],
        flags: [],
        create_timestamp: 'Mon Nov 23 07:06:09 2026',
        access_timestamp: 'Mon Nov 23 07:06:09 2026',
        modify_timestamp: 'Mon Nov 23 07:06:09 2026',
      }),
    );
  });

  test('info: of a replica names the feature and the mirroring block', async () => {
    await create('a');
    await mirror('a');
    const info = await imageInfo(deps, spec('a'));
    expect(info.features.at(-1)).toBe('non-primary');
    expect(info.snapshot_count).toBe(1);
    expect(info.mirroring).toEqual({ mode: 'snapshot', state: 'enabled', global_id: 'g1', primary: false });
    await mirror('a', { state: 'primary' });
    expect(await imageInfo(deps, spec('a'))).toMatchObject({ mirroring: { primary: true }, features: { length: 5 } });
  });

  test('info: of a snapshot has its size and protection', async () => {
    await create('a');
    await createSnapshot(deps, spec('a'), 's');
    await resizeImage(deps, spec('a'), { sizeBytes: 2 * GiB });
    expect(await imageInfo(deps, spec('a', 's'))).toMatchObject({ size: GiB, protected: 'false' });
  });

  test('info: a day below ten is padded with a space', async () => {
    clock.setMs(Date.UTC(2026, 0, 5, 1, 2, 3));
    await create('a');
    expect((await imageInfo(deps, spec('a'))).create_timestamp).toBe('Mon Jan  5 01:02:03 2026');
  });

  test('snap ls --all: mirror snapshots have the namespace that rbd shows', async () => {
    await create('a', 128 * 2 ** 20);
    await createSnapshot(deps, spec('a'), 'u');
    await mirror('a', { state: 'primary', mirrorPeerUuids: ['p1'] });
    await mirror('a', { state: 'primary-demoted', mirrorPeerUuids: ['p1'] });
    await mirror('a', { state: 'non-primary', primaryMirrorUuid: 'm1', primarySnapId: 4 });
    const listed = await listSnapshots(deps, spec('a'), { all: true });
    expect(listed.map((one) => one.namespace)).toEqual([
      { type: 'user' },
      { type: 'mirror', state: 'primary', mirror_peer_uuids: ['p1'], complete: true },
      { type: 'mirror', state: 'demoted', mirror_peer_uuids: ['p1'], complete: true },
      {
        type: 'mirror',
        state: 'non-primary',
        mirror_peer_uuids: [],
        complete: true,
        primary_mirror_uuid: 'm1',
        primary_snap_id: 4,
        last_copied_object_number: 256,
      },
    ]);
    expect(listed[0]).toMatchObject({
      id: 1,
      name: 'u',
      size: 128 * 2 ** 20,
      protected: 'false',
      timestamp: 'Mon Nov 23 07:06:09 2026',
    });
    expect((await listSnapshots(deps, spec('a'))).map((one) => one.name)).toEqual(['u']);
  });

  test('ls: pages, and lists snapshots after their image', async () => {
    for (const name of ['a', 'b', 'c']) await create(name);
    await createSnapshot(deps, spec('b'), 's');
    const first = await listImages(deps, pool, '', { limit: 2 });
    expect(first.images.map((one) => one.snapshot ?? one.image)).toEqual(['a', 'b', 's']);
    expect(first.next).toBe('b');
    const second = await listImages(deps, pool, '', { limit: 2, after: first.next });
    expect(second.images.map((one) => one.image)).toEqual(['c']);
    expect(second.next).toBeUndefined();
    await refused(listImages(deps, 'nopool', ''), 'ENOENT');
    await refused(listImages(deps, pool, 'none'), 'ENOENT');
    await createDocument(deps.bucket, keyText({ kind: 'namespace', pool, namespace: 'empty' }), {}, systemRandom);
    expect((await listImages(deps, pool, 'empty')).images).toEqual([]);
  });
});

describe('image-meta', () => {
  test('meta: set, get, list, remove', async () => {
    await create('a');
    await setMeta(deps, spec('a'), 'k2', 'v2');
    await setMeta(deps, spec('a'), 'k1', 'v1');
    expect(await getMeta(deps, spec('a'), 'k1')).toBe('v1');
    expect(Object.entries(await listMeta(deps, spec('a')))).toEqual([
      ['k1', 'v1'],
      ['k2', 'v2'],
    ]);
    await removeMeta(deps, spec('a'), 'k1');
    await refused(getMeta(deps, spec('a'), 'k1'), 'ENOENT');
    await refused(removeMeta(deps, spec('a'), 'k1'), 'ENOENT');
  });

  test('meta: keys that every object has are not there unless set', async () => {
    await create('a');
    await refused(getMeta(deps, spec('a'), 'constructor'), 'ENOENT');
    await setMeta(deps, spec('a'), 'constructor', 'x');
    expect(await getMeta(deps, spec('a'), 'constructor')).toBe('x');
    await refused(setMeta(deps, spec('a'), '__proto__', 'x'), 'EINVAL');
  });

  test('meta: refusals', async () => {
    await create('a');
    await refused(setMeta(deps, spec('a'), '', 'v'), 'EINVAL');
    await refused(setMeta(deps, spec('a'), 'a\u0000b', 'v'), 'EINVAL');
    await refused(setMeta(deps, spec('a'), 'k', 'x'.repeat(64 * 1024 + 1)), 'EFBIG');
    for (let index = 0; index < 3; index++) await setMeta(deps, spec('a'), `k${index}`, 'x'.repeat(64 * 1024));
    await refused(setMeta(deps, spec('a'), 'k3', 'x'.repeat(64 * 1024)), 'ENOSPC');
  });

  test('meta: setting what is there already writes nothing', async () => {
    await create('a');
    await setMeta(deps, spec('a'), 'k', 'v');
    expect(await counted(() => setMeta(deps, spec('a'), 'k', 'v'))).toEqual([0, 2, 0]);
  });
});

test('updateHeader: concurrent changes are all kept', async () => {
  const id = await create('a');
  await Promise.all(Array.from({ length: 8 }, (_, index) => setMeta(deps, id, `k${index}`, 'v')));
  const stored = await readDocument(deps.bucket, headerKey(id), headerSchema);
  expect(Object.keys(stored!.value.meta)).toHaveLength(8);
  expect(stored!.revision).toBe(9);
});
