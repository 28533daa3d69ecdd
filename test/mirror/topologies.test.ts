// Three sites: one that feeds two, chains, and one that receives from two. What is decided is in the role tests; here it is that
// data, acknowledgements and removals take these ways.

import { describe, expect, test } from 'vitest';

import { mirrorSnapshots } from '../../lib/image/header.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  resyncImage,
} from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import type { Limits } from '../../lib/mirror/limits.ts';
import { imageStatus, poolStatus } from '../../lib/mirror/status/status.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { PeerEndpoint } from '../../lib/mirror/primary/endpoint.ts';
import { handleSync } from '../../lib/mirror/replica/sync.ts';
import { promotionState } from '../../lib/mirror/roles/roles.ts';
import { headContent, headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

const disk = spec('disk');
let seed = 1;

async function change(world: World, site: TestSite): Promise<void> {
  seed += 1;
  await world.run(write(site, 'disk', seed, [{ offset: 4096 * (seed % 10), length: 4096 }]));
  await world.run(createMirrorSnapshot(site.deps, disk));
}

async function mirrored(world: World): Promise<void> {
  await makeImage(world.a, 'disk', 64 * 1024);
  await world.run(write(world.a, 'disk', 1, [{ offset: 0, length: 8192 }]));
  await world.run(enableImage(world.a.deps, disk, 'snapshot'));
  await world.minute();
}

const equal = async (one: TestSite, other: TestSite): Promise<boolean> =>
  (await headContent(one, 'disk')).equals(await headContent(other, 'disk'));
const states = (world: World): Promise<string[]> =>
  Promise.all(world.sites.map(async (site) => promotionState(mirrorSnapshots(await headerOf(site, 'disk')))));
const problemOf = async (site: TestSite): Promise<string | undefined> =>
  (await headerOf(site, 'disk')).mirror?.problem?.description;

async function chain(): Promise<World> {
  const world = new World();
  await world.join(world.a, world.b, { direction: 'rx-tx' });
  await world.join(world.b, world.c);
  await mirrored(world);
  return world;
}

describe('one to many', () => {
  async function star(): Promise<World> {
    const world = new World();
    await world.join(world.a, world.b);
    await world.join(world.a, world.c);
    await mirrored(world);
    return world;
  }

  test('every replica copies and acknowledges by itself; a slow one keeps only its own points', async () => {
    const world = await star();
    expect([await equal(world.a, world.b), await equal(world.a, world.c)]).toEqual([true, true]);
    world.c.isDown = true;
    for (let count = 0; count < 4; count++) {
      await change(world, world.a);
      await world.minute();
    }
    expect([await equal(world.a, world.b), await equal(world.a, world.c)]).toEqual([true, false]);
    const lists = mirrorSnapshots(await headerOf(world.a, 'disk')).map((s) => s.namespace.mirrorPeerUuids.length);
    expect(lists).toEqual([1, 1, 1, 1, 2]);
    world.c.isDown = false;
    await world.minute();
    expect(await equal(world.a, world.c)).toBe(true);
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))).toHaveLength(1);
  });
});

test('a replica whose clock was ahead is believed again when it is right, and says nothing to a terminal', async () => {
  const world = new World();
  await world.join(world.a, world.b);
  await mirrored(world);
  const { mirror } = await headerOf(world.a, 'disk');
  const [record] = (await readPool(world.a.deps, 'rbd')).value.peers;
  const endpoint = new PeerEndpoint(world.a.deps, 'rbd', record!);
  const told = async (description: string, updatedAtMs: number): Promise<string | undefined> => {
    const beyond = [{ siteName: 'c', mirrorUuid: 'c', state: 'unknown' as const, description, updatedAtMs }];
    await endpoint.ack(mirror!.globalId, { status: { state: 'error', description, updatedAtMs, beyond } });
    return (await imageStatus(world.a.deps, disk)).peer_sites?.[0]?.description;
  };
  expect(await told('ahead', 8e15)).toBe('ahead');
  expect(await told('\u001b[31mred\nline', 8e15)).toBe(' [31mred line');
  world.clock.advance(60_000);
  expect(await told('right again', world.clock.nowMs())).toBe('right again');
});

test('replicas of one primary hear nothing of each other', async () => {
  const world = new World();
  await world.join(world.a, world.b, { direction: 'rx-tx' });
  await world.join(world.a, world.c);
  await mirrored(world);
  await world.minute();
  await world.minute();
  const shown = async ({ deps }: TestSite) =>
    ((await imageStatus(deps, disk)).peer_sites ?? []).map(({ site_name }) => site_name);
  expect((await shown(world.a)).toSorted()).toEqual(['site-b', 'site-c']);
  expect([await shown(world.b), await shown(world.c)]).toEqual([['site-a'], ['site-a']]);
});

describe('a chain', () => {
  test('passes every change on, with the name of the primary’s point', async () => {
    const world = await chain();
    expect(await equal(world.a, world.c)).toBe(true);
    await change(world, world.a);
    await world.settle();
    expect(await equal(world.a, world.c)).toBe(true);
    const [a, c] = [await headerOf(world.a, 'disk'), await headerOf(world.c, 'disk')];
    const point = mirrorSnapshots(c).at(-1)!.namespace;
    expect(point.primarySnapId).toBe(mirrorSnapshots(a).at(-1)!.id);
    expect(point.primaryCreatedAtMs).toBe(mirrorSnapshots(a).at(-1)!.createdAtMs);
    expect(await states(world)).toEqual(['primary', 'non-primary', 'non-primary']);
    expect((await imageStatus(world.c.deps, disk)).description).toMatch(/^replaying.*"idle"/);
    // The middle keeps what the end stands at, and no more.
    expect(mirrorSnapshots(await headerOf(world.b, 'disk'))).toHaveLength(1);
  });

  test('shows at its beginning how its end stands, up and down, and tells the end nothing of the beginning', async () => {
    const world = await chain();
    await world.minute();
    await world.minute();
    const shown = async (site: TestSite) =>
      ((await imageStatus(site.deps, disk)).peer_sites ?? []).map(({ site_name, state, via }) => [
        site_name,
        state,
        via,
      ]);
    expect(await shown(world.a)).toEqual([
      ['site-b', 'up+replaying', undefined],
      ['site-c', 'up+replaying', 'site-b'],
    ]);
    expect((await shown(world.b)).map(([name]) => `${name}`).toSorted()).toEqual(['site-a', 'site-c']);
    expect((await shown(world.c)).map(([name]) => name)).toEqual([]);
    // Its numbers go with the next report of the middle, and say the same as at the middle.
    await change(world, world.a);
    await world.minute();
    await world.minute();
    const told = async (site: TestSite) =>
      (await imageStatus(site.deps, disk)).peer_sites?.find(({ site_name }) => site_name === 'site-c')?.description;
    expect(await told(world.a)).toMatch(/^replaying, \{.*"idle"/);
    // A state that changes is passed on without a change of the image.
    await world.run(promoteImage(world.c.deps, disk, { force: true }));
    await world.minute();
    await world.minute();
    expect((await shown(world.a)).at(-1)).toEqual(['site-c', 'up+stopped', 'site-b']);
    world.c.isDown = true;
    for (let minutes = 0; minutes < 4; minutes++) await world.minute();
    expect((await shown(world.a)).map(([name, state]) => [name, state])).toEqual([
      ['site-b', 'up+replaying'],
      ['site-c', 'down+stopped'],
    ]);
  });

  test('a demotion and a promotion arrive at its end, which can be promoted itself', async () => {
    const world = await chain();
    await change(world, world.a);
    await world.run(demoteImage(world.a.deps, disk));
    await world.minute();
    expect(await states(world)).toEqual(['orphan', 'orphan', 'orphan']);
    expect((await imageStatus(world.c.deps, disk)).description).toBe('remote image demoted');
    await world.run(promoteImage(world.b.deps, disk));
    await change(world, world.b);
    await world.minute();
    expect(await states(world)).toEqual(['non-primary', 'primary', 'non-primary']);
    expect([await equal(world.a, world.b), await equal(world.c, world.b)]).toEqual([true, true]);
    await expect(world.run(promoteImage(world.c.deps, disk))).rejects.toMatchObject({ code: 'EBUSY' });
  });

  test('its end catches up after the middle was away, and is told of removal by it', async () => {
    const world = await chain();
    world.b.isDown = true;
    await change(world, world.a);
    await world.minute();
    world.b.isDown = false;
    await change(world, world.a);
    await world.minute();
    expect(await equal(world.a, world.c)).toBe(true);
    await world.run(disableImage(world.a.deps, disk));
    await world.minute();
    await world.minute();
    for (const site of [world.b, world.c])
      await expect(headerOf(site, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a forced promotion in the middle, taken back by a resync, is split-brain at the end until it resyncs too', async () => {
    const world = await chain();
    await world.run(promoteImage(world.b.deps, disk, { force: true }));
    await change(world, world.b);
    await world.minute();
    expect(await equal(world.b, world.c)).toBe(true);
    await change(world, world.a);
    await world.run(demoteImage(world.b.deps, disk));
    await world.run(resyncImage(world.b.deps, disk));
    await world.minute();
    await world.minute();
    expect(await equal(world.a, world.b)).toBe(true);
    expect([await problemOf(world.b), await problemOf(world.c)]).toEqual([undefined, 'split-brain']);
    await world.run(resyncImage(world.c.deps, disk));
    await world.minute();
    expect(await equal(world.a, world.c)).toBe(true);
    expect(await problemOf(world.c)).toBeUndefined();
  });
});

describe('two to receive from', () => {
  /** c receives from a and from b, which is a's replica too. */
  async function triangle(limits: Partial<Limits> = {}): Promise<World> {
    const world = new World({ limits });
    await world.join(world.a, world.b, { direction: 'rx-tx' });
    await world.join(world.a, world.c);
    await expect(world.join(world.b, world.c)).rejects.toThrow('multiple peers are not currently supported');
    await world.join(world.b, world.c, { additional: true });
    await mirrored(world);
    return world;
  }

  test('the image follows whoever is ahead, and stands still for nobody who is behind', async () => {
    const world = await triangle();
    for (let count = 0; count < 3; count++) {
      await change(world, world.a);
      await world.minute();
    }
    expect(await equal(world.a, world.c)).toBe(true);
    expect(await problemOf(world.c)).toBeUndefined();
    world.a.isDown = true;
    await world.run(promoteImage(world.b.deps, disk, { force: true }));
    await change(world, world.b);
    await world.minute();
    await world.minute();
    expect(await equal(world.b, world.c)).toBe(true);
    expect(await problemOf(world.c)).toBeUndefined();
    for (const site of world.sites) expect(mirrorSnapshots(await headerOf(site, 'disk')).length).toBeLessThan(7);
  });

  test('while the primary that it follows says so, it does not go over to another', async () => {
    const world = await triangle();
    await world.run(promoteImage(world.b.deps, disk, { force: true }));
    await change(world, world.b);
    await world.minute();
    expect([await equal(world.a, world.c), await equal(world.b, world.c)]).toEqual([true, false]);
    await change(world, world.a);
    await world.minute();
    expect(await equal(world.a, world.c)).toBe(true);
  });

  test('split-brain with one source stays noted while the other is in step but demoted, and costs no writes', async () => {
    const world = await triangle({ compareEveryMs: 60_000 });
    await world.run(demoteImage(world.a.deps, disk));
    await world.minute();
    world.a.isDown = true;
    await world.run(promoteImage(world.b.deps, disk));
    await change(world, world.b);
    await world.run(demoteImage(world.b.deps, disk));
    await world.minute();
    expect([await equal(world.b, world.c), await problemOf(world.c)]).toEqual([true, 'remote image demoted']);
    world.a.isDown = false;
    await world.run(promoteImage(world.a.deps, disk));
    await world.minute();
    await world.minute();
    const before = await headerOf(world.c, 'disk');
    expect(before.mirror?.problem?.description).toBe('split-brain');
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    expect(await headerOf(world.c, 'disk')).toEqual(before);
    await world.run(demoteImage(world.a.deps, disk));
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    await world.run(promoteImage(world.a.deps, disk));
    await world.run(resyncImage(world.c.deps, disk));
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    expect([await equal(world.a, world.c), await problemOf(world.c)]).toEqual([true, undefined]);
  });

  test('a copy that stands still is its source’s to go on with, unless that one is away', async () => {
    const world = await triangle({ inlineBytesMax: 1 });
    const { deps } = world.c;
    world.c.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await change(world, world.a);
    await world.run(world.b.tick());
    await world.settle();
    const { globalId } = (await headerOf(world.c, 'disk')).mirror!;
    const { peers } = (await readPool(deps, 'rbd')).value;
    const [ofA, ofB] = ['site-a', 'site-b'].map((name) => peers.find(({ siteName }) => siteName === name)!.uuid);
    const syncFrom = async (peerUuid: string): Promise<string | undefined> => {
      await world.run(handleSync(deps, { type: 'sync', pool: 'rbd', peerUuid, globalId }));
      return (await headerOf(world.c, 'disk')).mirror?.sync?.peerUuid;
    };
    expect(await syncFrom(ofA!)).toBe(ofA);
    world.clock.advance(600_000);
    expect(await syncFrom(ofB!)).toBe(ofA);
    world.a.isDown = true;
    expect(await syncFrom(ofB!)).toBe(ofB);
  });

  test('a planned failover moves everybody, and back', async () => {
    const world = await triangle();
    for (const [from, to] of [
      [world.a, world.b],
      [world.b, world.a],
    ] as const) {
      await world.run(demoteImage(from.deps, disk));
      await world.minute();
      await world.run(promoteImage(to.deps, disk));
      await change(world, to);
      await world.minute();
      await world.minute();
      expect([await equal(to, from), await equal(to, world.c)]).toEqual([true, true]);
    }
    expect(await states(world)).toEqual(['primary', 'non-primary', 'non-primary']);
  });
});

for (const direction of ['rx-only', 'rx-tx'])
  test(`both sites primary is a warning at once at both, with ${direction} peers`, async () => {
    const world = new World();
    await world.join(world.a, world.b, { direction });
    await mirrored(world);
    const warnings = async (site: TestSite) => (await poolStatus(site.deps, 'rbd')).warnings;
    expect([await warnings(world.a), await warnings(world.b)]).toEqual([undefined, undefined]);
    await world.run(promoteImage(world.b.deps, disk, { force: true }));
    await world.settle();
    const said = ['image disk is primary on more than one site'];
    for (const site of [world.a, world.b]) await world.run(site.beat());
    expect([await warnings(world.a), await warnings(world.b)]).toEqual([said, said]);
    await world.run(demoteImage(world.b.deps, disk));
    await world.settle();
    await world.minute();
    for (const site of [world.a, world.b]) await world.run(site.beat());
    expect([await warnings(world.a), await warnings(world.b)]).toEqual([undefined, undefined]);
  });

test('two ways at once: each site is primary for some images of one pool', async () => {
  const world = new World();
  await world.pair();
  for (const [site, name] of [
    [world.a, 'of-a'],
    [world.b, 'of-b'],
  ] as const) {
    await makeImage(site, name, 64 * 1024);
    await world.run(enableImage(site.deps, spec(name), 'snapshot'));
  }
  await world.minute();
  for (const [site, name] of [
    [world.a, 'of-a'],
    [world.b, 'of-b'],
  ] as const) {
    await world.run(write(site, name, 5, [{ offset: 0, length: 4096 }]));
    await world.run(createMirrorSnapshot(site.deps, spec(name)));
  }
  await world.minute();
  for (const name of ['of-a', 'of-b'])
    expect((await headContent(world.a, name)).equals(await headContent(world.b, name))).toBe(true);
});
