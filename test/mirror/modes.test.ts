// An image that moves between the modes: disabled, then enabled in the other one. Its replica goes and comes back, and what crosses
// the wire is what changed. Bytes are counted; 200 KiB are a whole copy.

import { describe, expect, test } from 'vitest';

import { FarsideError } from '../../lib/errors.ts';
import { readHeader } from '../../lib/image/access.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { collectStep } from '../../lib/image/collect/collect.ts';
import { mirrorSnapshots } from '../../lib/image/header.ts';
import { listImages, renameImage } from '../../lib/image/images.ts';
import { setMeta } from '../../lib/image/meta.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { listTrash, restoreFromTrash } from '../../lib/image/trash.ts';
import { createMirrorSnapshot, disableImage, enableImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { expireTrash } from '../../lib/mirror/verbs/trash.ts';
import { advance, attach, expectEqual, headOf, kib, paired, put, sizeBytes } from './journal-world.ts';
import { headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

const modes = ['snapshot', 'journal'] as const;
type Mode = (typeof modes)[number];
const other = (mode: Mode): Mode => (mode === 'snapshot' ? 'journal' : 'snapshot');
/** What 8 KiB that changed may cost with the map nodes above them. */
const littleBytes = 40 * kib;
const dayMs = 24 * 60 * 60 * 1000;

async function enabled(mode: Mode): Promise<World> {
  const world = await paired();
  await enable(world, mode);
  return world;
}

async function enable(world: World, mode: Mode, image = 'disk'): Promise<void> {
  await world.run(enableImage(world.a.deps, spec(image), mode));
  await world.settle();
}

async function disable(world: World, image = 'disk'): Promise<void> {
  await world.run(disableImage(world.a.deps, spec(image)));
  await world.settle();
}

/** Bytes of packs and segments that crossed the wire meanwhile. */
async function wireBytes(world: World, work: () => Promise<void>): Promise<number> {
  const before = world.wire.packBytes + world.wire.segmentBytes;
  await work();
  return world.wire.packBytes + world.wire.segmentBytes - before;
}

const inTrash = async (site: TestSite): Promise<string[]> =>
  (await listTrash(site.deps, 'rbd', '', { all: true })).images.map(({ id }) => id);
const names = async (site: TestSite): Promise<string[]> => [
  ...new Set((await listImages(site.deps, 'rbd', '')).images.map(({ image }) => image)),
];

/** Something else happens right before the n-th put of a key. */
function beforePut(site: TestSite, pattern: RegExp, nth: number, work: () => Promise<unknown>): void {
  const put = site.driver.put.bind(site.driver);
  let count = 0;
  site.driver.put = async (key, ...rest) => {
    if (pattern.test(key) && ++count === nth) await work();
    return put(key, ...rest);
  };
}

/** Dies after the n-th write of its bucket: nothing is read or written any more, until it is started anew. */
function killAfter(site: TestSite, nth: number): { wasHit: () => boolean; restart: () => void } {
  const { driver } = site;
  let [count, isDead] = [0, false];
  const killed = (): FarsideError => new FarsideError('EIO', 'killed', { retry: 'never' });
  const guarded =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>, writes: boolean) =>
    async (...args: A): Promise<R> => {
      if (isDead) throw killed();
      const result = await method.apply(driver, args);
      if (!writes || ++count !== nth) return result;
      isDead = true;
      throw killed();
    };
  driver.get = guarded(driver.get.bind(driver), false);
  driver.head = guarded(driver.head.bind(driver), false);
  driver.list = guarded(driver.list.bind(driver), false);
  driver.put = guarded(driver.put.bind(driver), true);
  driver.delete = guarded(driver.delete.bind(driver), true);
  const restart = (): void => {
    if (isDead) site.restart();
    isDead = false;
  };
  return { wasHit: () => count >= nth, restart };
}

/** To its end, nothing being too young. */
async function collect(world: World, site: TestSite, imageId: string): Promise<void> {
  let message: Parameters<typeof collectStep>[1] | undefined = { imageId, run: site.deps.random.uuid(), step: 0 };
  const deps = { ...site.deps, settings: { ...site.deps.settings, collectGraceMs: 0 } };
  while (message) message = (await world.run(collectStep(deps, message))).next;
}

describe.each(modes)('from mode %s to the other', (mode) => {
  test('the replica goes and comes back, and nothing crosses the wire that did not change', async () => {
    const world = await enabled(mode);
    const { imageId } = await headerOf(world.b, 'disk');
    await disable(world);
    expect([await names(world.b), await inTrash(world.b)]).toEqual([[], [imageId]]);
    await world.run(write(world.a, 'disk', 2, [{ offset: 64 * kib, length: 8 * kib }]));
    const bytes = await wireBytes(world, () => enable(world, other(mode)));
    await expectEqual(world);
    expect(bytes).toBeGreaterThan(8 * kib);
    expect(bytes).toBeLessThan(littleBytes);
    const header = await headerOf(world.b, 'disk');
    expect([header.imageId, header.mirror?.mode, await inTrash(world.b)]).toEqual([imageId, other(mode), []]);
  });

  test('what a writer flushed in between is there, and it goes on writing', async () => {
    const world = await enabled(mode);
    const image = await attach(world, world.a);
    await put(world, image, 300 * kib, 1);
    await disable(world);
    await put(world, image, 400 * kib, 2);
    const bytes = await wireBytes(world, () => enable(world, other(mode)));
    expect(bytes).toBeLessThan(littleBytes);
    await put(world, image, 500 * kib, 3);
    if (mode === 'snapshot') await advance(world, world.a);
    else await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await world.settle();
    await expectEqual(world);
  });

  test('there and back again, with collections at both sites, each time only what changed', async () => {
    const world = await enabled(mode);
    const { imageId } = await headerOf(world.b, 'disk');
    const { imageId: primaryId } = await headerOf(world.a, 'disk');
    for (const [index, next] of [other(mode), mode, other(mode)].entries()) {
      await disable(world);
      await world.run(write(world.a, 'disk', 10 + index, [{ offset: index * 64 * kib, length: 8 * kib }]));
      for (const [site, id] of [[world.a, primaryId] as const, [world.b, imageId] as const])
        await collect(world, site, id);
      expect(await wireBytes(world, () => enable(world, next))).toBeLessThan(littleBytes);
      await expectEqual(world);
    }
  });

  test('an image that was renamed, snapshotted and given metadata in between', async () => {
    const world = await enabled(mode);
    await disable(world);
    await world.run(renameImage(world.a.deps, spec('disk'), 'drive'));
    await world.run(createSnapshot(world.a.deps, spec('drive'), 'between'));
    await world.run(setMeta(world.a.deps, spec('drive'), 'k', 'v'));
    expect(await wireBytes(world, () => enable(world, other(mode), 'drive'))).toBeLessThan(kib);
    await expectEqual(world, 'drive');
    expect(await headerOf(world.b, 'drive')).toMatchObject({ meta: { k: 'v' }, snapshots: [{ name: 'between' }, {}] });
    expect(await names(world.b)).toEqual(['drive']);
  });

  test('enabled before the other site heard of the end: it comes to the end of the old replica first', async () => {
    const world = await enabled(mode);
    world.b.isDown = true;
    await world.run(disableImage(world.a.deps, spec('disk')));
    await world.run(renameImage(world.a.deps, spec('disk'), 'drive'));
    await world.run(write(world.a, 'drive', 2, [{ offset: 0, length: 8 * kib }]));
    await world.run(enableImage(world.a.deps, spec('drive'), other(mode)));
    world.b.isDown = false;
    const newest = (await headerOf(world.a, 'drive')).mirror!.globalId;
    const peerUuid = (await readPool(world.b.deps, 'rbd')).value.peers[0]!.uuid;
    const bytes = await wireBytes(world, async () => {
      await world.b.deps.queue.send([{ type: 'sync', pool: 'rbd', peerUuid, globalId: newest }]);
      await world.settle();
    });
    await expectEqual(world, 'drive');
    expect(bytes).toBeLessThan(littleBytes);
    expect([await names(world.b), await inTrash(world.b)]).toEqual([['drive'], []]);
  });

  test('disabled again before it was back: the replica waits on', async () => {
    const world = await enabled(mode);
    await disable(world);
    await world.run(write(world.a, 'disk', 2, [{ offset: 0, length: 8 * kib }]));
    beforePut(world.b, /header\.json$/, 2, () => disableImage(world.a.deps, spec('disk')));
    await enable(world, other(mode));
    expect([await names(world.b), await inTrash(world.b)]).toMatchObject([[], [{}]]);
    expect(await wireBytes(world, () => enable(world, mode))).toBeLessThan(littleBytes);
    await expectEqual(world);
  });

  test('too late: the replica is gone, what was kept for it is collected, and all of it is copied', async () => {
    const world = await enabled(mode);
    const { imageId } = await headerOf(world.b, 'disk');
    await disable(world);
    await world.run(write(world.a, 'disk', 2, [{ offset: 0, length: 200 * kib }]));
    world.clock.advance(dayMs + 1000);
    await world.run(expireTrash(world.b.deps, (await readPool(world.b.deps, 'rbd')).value));
    await world.settle();
    expect(await readHeader(world.b.deps, imageId)).toBeUndefined();
    const primary = await headerOf(world.a, 'disk');
    expect(primary.formerly).toHaveLength(1);
    await collect(world, world.a, primary.imageId);
    expect((await headerOf(world.a, 'disk')).formerly).toBeUndefined();
    expect(await wireBytes(world, () => enable(world, other(mode)))).toBeGreaterThan(200 * kib);
    await expectEqual(world);
    expect((await headerOf(world.b, 'disk')).imageId).not.toBe(imageId);
  });
});

test('with a delete delay of 0 the replica goes at once, as the operator said', async () => {
  const world = await paired();
  await world.run(setMeta(world.a.deps, spec('disk'), 'conf_rbd_mirroring_delete_delay', '0'));
  await enable(world, 'snapshot');
  const { imageId } = await headerOf(world.b, 'disk');
  await disable(world);
  expect([await inTrash(world.b), await readHeader(world.b.deps, imageId)]).toEqual([[], undefined]);
  expect(await wireBytes(world, () => enable(world, 'journal'))).toBeGreaterThan(200 * kib);
  await expectEqual(world);
});

test('only the primary decides to come back: a kept replica that was restored stays as it is', async () => {
  const world = await enabled('snapshot');
  await disable(world);
  const [id] = await inTrash(world.b);
  await world.run(restoreFromTrash(world.b.deps, { pool: 'rbd', namespace: '', imageId: id! }, 'mine'));
  await enable(world, 'journal');
  await expectEqual(world);
  expect((await names(world.b)).toSorted()).toEqual(['disk', 'mine']);
  expect(mirrorSnapshots(await headerOf(world.b, 'mine'))).toEqual([]);
});

test('the primary is lost while the replica comes back: its content of before can be had, and the refusal says how', async () => {
  const world = await enabled('snapshot');
  const before = await headOf(world, world.b);
  await disable(world);
  await world.run(write(world.a, 'disk', 2, [{ offset: 64 * kib, length: 8 * kib }]));
  const dropped = world.b.driver.delete.bind(world.b.driver);
  world.b.driver.delete = async (keys) => {
    // Its entry in the trash goes once the header is out of it.
    world.a.isDown ||= keys.some((key) => key.includes('/trash/'));
    await dropped(keys);
  };
  await enable(world, 'snapshot');
  await expect(world.run(promoteImage(world.b.deps, spec('disk'), { force: true }))).rejects.toMatchObject({
    message: expect.stringContaining('mirror image disable --force'),
  });
  await world.run(disableImage(world.b.deps, spec('disk'), { force: true }));
  expect((await headOf(world, world.b)).equals(before)).toBe(true);
  await world.run(write(world.b, 'disk', 3, [{ offset: 0, length: 8 * kib }]));
});

test('a clone and its parent move, and the replica of the one stays a clone of that of the other', async () => {
  const world = await enabled('snapshot');
  await world.run(createSnapshot(world.a.deps, spec('disk'), 's'));
  await world.run(cloneImage(world.a.deps, spec('disk'), { name: 's' }, spec('clone'), { cloneFormat: '2' }));
  await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
  await world.run(write(world.a, 'clone', 3, [{ offset: 128 * kib, length: 8 * kib }]));
  await enable(world, 'snapshot', 'clone');
  const before = [await headerOf(world.b, 'disk'), await headerOf(world.b, 'clone')];
  for (const image of ['clone', 'disk']) await disable(world, image);
  expect((await inTrash(world.b)).toSorted()).toEqual(before.map(({ imageId }) => imageId).toSorted());
  for (const image of ['disk', 'clone'])
    await world.run(write(world.a, image, 4, [{ offset: 8 * kib, length: 8 * kib }]));
  const bytes = await wireBytes(world, async () => {
    for (const image of ['disk', 'clone']) await enable(world, 'journal', image);
  });
  for (const image of ['disk', 'clone']) await expectEqual(world, image);
  expect(bytes).toBeLessThan(2 * littleBytes);
  const after = [await headerOf(world.b, 'disk'), await headerOf(world.b, 'clone')];
  expect(after.map(({ imageId }) => imageId)).toEqual(before.map(({ imageId }) => imageId));
  expect(after[1]!.parent?.imageId).toBe(after[0]!.imageId);
});

test('in a chain both replicas come back, the second from the first', async () => {
  const world = new World();
  await world.join(world.a, world.b, { direction: 'rx-tx' });
  await world.join(world.b, world.c);
  await world.run(makeImage(world.a, 'disk', sizeBytes));
  await world.run(write(world.a, 'disk', 1, [{ offset: 0, length: 200 * kib }]));
  await enable(world, 'snapshot');
  await world.minute();
  const ids = async (): Promise<string[]> =>
    Promise.all([world.b, world.c].map(async (site) => (await headerOf(site, 'disk')).imageId));
  const before = await ids();
  await disable(world);
  await world.minute();
  expect([await inTrash(world.b), await inTrash(world.c)]).toEqual(before.map((id) => [id]));
  await world.run(write(world.a, 'disk', 2, [{ offset: 64 * kib, length: 8 * kib }]));
  const bytes = await wireBytes(world, async () => {
    await enable(world, 'journal');
    await world.minute();
  });
  expect(bytes).toBeLessThan(2 * littleBytes);
  expect(await ids()).toEqual(before);
  await expectEqual(world);
  expect((await headOf(world, world.c)).equals(await headOf(world, world.a))).toBe(true);
});

describe.each([
  { at: 'the primary', from: 'snapshot', site: (world: World) => world.a },
  { at: 'the replica', from: 'journal', site: (world: World) => world.b },
] as const)('killed after any write at $at', ({ from, site }) => {
  /** Ticks and the same commands again bring it to its end. */
  async function moved(nth: number): Promise<{ world: World; wasHit: boolean; bytes: number }> {
    const world = await enabled(from);
    const { wasHit, restart } = killAfter(site(world), nth);
    const survive = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((error: unknown) => {
        if (!(error instanceof FarsideError) || error.message !== 'killed') throw error;
      });
      restart();
    };
    const again = async (work: () => Promise<unknown>): Promise<void> => {
      for (let tries = 0; tries < 2; tries++) {
        await survive(() => world.run(work()));
        await survive(() => world.settle());
      }
      await survive(() => world.minute());
      await survive(() => world.minute());
    };
    const bytes = await wireBytes(world, async () => {
      await again(() => disableImage(world.a.deps, spec('disk')));
      await again(() => write(world.a, 'disk', 2, [{ offset: 64 * kib, length: 8 * kib }]));
      await again(() => enableImage(world.a.deps, spec('disk'), other(from)));
      // A record of the feed may be lost with a killed process: then the full comparison finds what happened.
      world.clock.advance(world.b.deps.limits.compareEveryMs);
      await survive(() => world.minute());
      await survive(() => world.minute());
    });
    for (const one of world.sites) one.failures.length = 0;
    return { world, wasHit: wasHit(), bytes };
  }

  test('the image moves all the same, without being copied again', async () => {
    let killedCount = 0;
    for (let nth = 1, goesOn = true; goesOn; nth++) {
      const { world, wasHit, bytes } = await moved(nth);
      await expectEqual(world);
      expect([nth, await names(world.b), await inTrash(world.b)]).toEqual([nth, ['disk'], []]);
      expect(bytes, `killed after write ${nth}`).toBeLessThan(2 * littleBytes);
      goesOn = wasHit;
      killedCount += Number(wasHit);
    }
    expect(killedCount).toBeGreaterThan(10);
  });
});
