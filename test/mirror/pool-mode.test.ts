// Mode `pool`: images with the journaling feature are mirrored for that alone, whatever way they were made, and however many there
// are: each invocation looks at a bounded number.

import { beforeEach, describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { copyStep } from '../../lib/image/clones/copy.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { createImage } from '../../lib/image/images.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { stopAllByFeature, walkAll } from '../../lib/mirror/verbs/by-feature-walk.ts';
import { readCatalog } from '../../lib/mirror/peers/catalog.ts';
import { disablePool, enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { mirrorBorn, updateMirroredFeatures } from '../../lib/mirror/verbs/by-feature.ts';
import { mirrorOf, readPool, recentPool } from '../../lib/mirror/pool.ts';
import { headerOf, spec, World } from './two-sites.ts';

const sizeBytes = 64 * 1024;
const features = ['layering', 'exclusive-lock', 'journaling'];
let world: World;

beforeEach(async () => {
  world = new World({ limits: { featureImagesMax: 3, featureImagesHereMax: 2, cacheMs: 0 } });
  await world.pair();
});

const make = (name: string, withFeatures = features): Promise<unknown> =>
  world.run(createImage(world.a.deps, spec(name), { sizeBytes, features: withFeatures }));
const setMode = (mode: string): Promise<unknown> => world.run(enablePool(world.a.deps, 'rbd', mode));
const modeOf = async (name: string): Promise<string | undefined> => (await headerOf(world.a, name)).mirror?.mode;
const mirroredCount = async (): Promise<number> => Object.keys(await readCatalog(world.a.deps, 'rbd')).length;
const walkAfter = async (): Promise<string | undefined> =>
  mirrorOf((await readPool(world.a.deps, 'rbd')).value, '')?.walkAfter;
const nameOf = (index: number): string => `image-${String(index).padStart(2, '0')}`;

async function makeMany(count: number): Promise<void> {
  for (let index = 0; index < count; index++) await make(nameOf(index));
}

describe('an image is picked up at once', () => {
  beforeEach(() => setMode('pool'));

  test('that was created', async () => {
    await make('one');
    await make('other', ['layering']);
    expect([await modeOf('one'), await modeOf('other')]).toEqual(['journal', undefined]);
  });

  test('that was imported', async () => {
    const running = await world.run(
      startImport(world.a.deps, spec('one'), { update: false, compression: undefined, features }),
    );
    await world.run(running.write(0, Buffer.alloc(4096, 1)));
    await world.run(running.finish(sizeBytes));
    expect(await modeOf('one')).toBe('journal');
    await world.settle();
    expect((await headerOf(world.b, 'one')).mirror?.state).toBe('enabled');
  });

  test.each([false, true])('that was copied (deep: %s)', async (deep) => {
    await make('one', ['layering']);
    const step = await world.run(copyStep(world.a.deps, spec('one'), spec('copy'), { deep, features }));
    expect([step.done, await modeOf('copy')]).toEqual([true, 'journal']);
  });

  test('that was cloned, of a parent that is mirrored', async () => {
    await make('one');
    await createSnapshot(world.a.deps, spec('one'), 's');
    await world.run(
      cloneImage(world.a.deps, spec('one'), { name: 's' }, spec('clone'), { cloneFormat: '2', features }),
    );
    expect(await modeOf('clone')).toBe('journal');
  });

  test('but not a clone of one that is not mirrored, which is made all the same', async () => {
    await make('one', ['layering']);
    await createSnapshot(world.a.deps, spec('one'), 's');
    await world.run(
      cloneImage(world.a.deps, spec('one'), { name: 's' }, spec('clone'), { cloneFormat: '2', features }),
    );
    expect(await modeOf('clone')).toBeUndefined();
  });
});

test('an image that another process makes, which remembers the pool as it was before the mode, is picked up too', async () => {
  const other = { ...world.a.deps, limits: { ...world.a.deps.limits, cacheMs: 60_000 } };
  const another = { ...other, bucket: new Bucket(world.a.driver, other) };
  const deps = { ...another, born: mirrorBorn(another) };
  await recentPool(deps, 'rbd');
  await setMode('pool');
  await world.run(createImage(deps, spec('one'), { sizeBytes, features }));
  expect(await modeOf('one')).toBe('journal');
});

test('an image that loses the feature while its pool goes into mode pool is not mirrored', async () => {
  await make('one');
  const { driver, deps } = world.a;
  const store = driver.put.bind(driver);
  driver.put = async (key, body, condition) => {
    if (key.endsWith('/header.json')) {
      driver.put = store;
      await updateMirroredFeatures(deps, spec('one'), ['journaling'], 'disable');
    }
    return await store(key, body, condition);
  };
  await setMode('pool');
  const { mirror, features: left } = await headerOf(world.a, 'one');
  expect([mirror, left, await mirroredCount()]).toEqual([undefined, ['layering', 'exclusive-lock'], 0]);
});

describe('a pool with many images', () => {
  test('goes into mode pool a few at a time, by messages', async () => {
    await makeMany(8);
    await setMode('pool');
    expect([await mirroredCount(), await walkAfter()]).toEqual([2, nameOf(1)]);
    expect(await world.run(world.a.handleNext())).toBe(true);
    expect([await mirroredCount(), await walkAfter()]).toEqual([5, nameOf(4)]);
    await world.settle();
    expect([await mirroredCount(), await walkAfter()]).toEqual([8, undefined]);
  });

  test('is walked on by ticks when every message is lost, and twice does no harm', async () => {
    world.a.delivery = { ...world.a.delivery, lost: ({ type }) => type === 'by-feature' };
    await makeMany(8);
    await setMode('pool');
    const tick = async (): Promise<void> => walkAll(world.a.deps, (await readPool(world.a.deps, 'rbd')).value);
    for (const count of [5, 8]) {
      await world.run(Promise.all([tick(), tick()]));
      expect(await mirroredCount()).toBe(count);
    }
    expect(await walkAfter()).toBeUndefined();
    const before = world.a.deps.bucket.counts();
    await world.run(walkAll(world.a.deps, (await readPool(world.a.deps, 'rbd')).value));
    expect(world.a.deps.bucket.counts().B - before.B).toBe(1);
  });

  test('mirrors a parent before its clone, though its name comes later', async () => {
    await make('parent');
    await createSnapshot(world.a.deps, spec('parent'), 's');
    await world.run(
      cloneImage(world.a.deps, spec('parent'), { name: 's' }, spec('clone'), { cloneFormat: '2', features }),
    );
    await setMode('pool');
    await world.settle();
    expect([await modeOf('clone'), await modeOf('parent')]).toEqual(['journal', 'journal']);
  });

  test('a switch back to mode image ends the walk', async () => {
    await makeMany(8);
    await setMode('pool');
    await setMode('image');
    await world.settle();
    expect([await mirroredCount(), await walkAfter()]).toEqual([2, undefined]);
  });

  test('leaves mode pool a few at a time: the command says to be run again', async () => {
    await makeMany(4);
    await make('parent');
    await createSnapshot(world.a.deps, spec('parent'), 's');
    await setMode('pool');
    await world.settle();
    await world.run(
      cloneImage(world.a.deps, spec('parent'), { name: 's' }, spec('clone'), { cloneFormat: '2', features }),
    );
    await world.settle();
    const disable = (): Promise<unknown> => world.run(disablePool(world.a.deps, 'rbd', {}));
    await expect(disable()).rejects.toMatchObject({ code: 'EBUSY' }); // its peer is registered still
    const stop = (): Promise<void> => world.run(stopAllByFeature(world.a.deps, 'rbd', ''));
    await expect(stop()).rejects.toMatchObject({
      code: 'EAGAIN',
      message: expect.stringContaining('3 images') as string,
    });
    expect(await mirroredCount()).toBe(3);
    await stop();
    expect(await mirroredCount()).toBe(0);
  });
});
