// Attacks on delivery: messages lost, doubled, shuffled; large deltas under small limits; restarts.

import { describe, expect, test } from 'vitest';

import { FarsideError } from '../../lib/errors.ts';
import { mirrorSnapshots } from '../../lib/image/header.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import {
  createMirrorSnapshot,
  demoteImage,
  disableImage,
  enableImage,
  resyncImage,
} from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { imageStatus } from '../../lib/mirror/status/status.ts';
import type { Limits } from '../../lib/mirror/limits.ts';
import { checkReadable, headContent, headerOf, makeImage, requests, spec, World, write } from './two-sites.ts';

const kib = 1024;

/** Everything needs many steps. */
const small: Partial<Limits> = {
  pieceBytesMax: 48 * kib,
  piecePacksMax: 3,
  pieceRangesMax: 2,
  walkNodesMax: 4,
  manifestsMax: 2,
  resendPiecesMax: 5,
  inlineBytesMax: 8 * kib,
};

async function expectEqual(world: World, name = 'disk'): Promise<void> {
  const [a, b] = [await headContent(world.a, name), await headContent(world.b, name)];
  expect(b.equals(a)).toBe(true);
  await checkReadable(world.b, name);
}

async function filled(
  options: ConstructorParameters<typeof World>[0],
  sizeBytes = 1024 * kib,
  objectBytes = 64 * kib,
): Promise<World> {
  const world = new World(options);
  await world.pair();
  await world.run(makeImage(world.a, 'disk', sizeBytes, objectBytes));
  await world.run(write(world.a, 'disk', 1, [{ offset: 0, length: sizeBytes }]));
  return world;
}

const enable = async (world: World): Promise<void> => world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));

/** Ticks until both heads are equal. */
async function ticksUntilEqual(world: World, minutesMax: number): Promise<number> {
  for (let minutes = 1; minutes <= minutesMax; minutes++) {
    await world.minute();
    const replica = await headerOf(world.b, 'disk').catch(() => undefined);
    const target = mirrorSnapshots(await headerOf(world.a, 'disk')).at(-1)!;
    if (replica && mirrorSnapshots(replica).at(-1)?.namespace.primarySnapId === target.id) return minutes;
  }
  throw new Error(`not equal after ${minutesMax} minutes`);
}

describe('continuation', () => {
  test('a thousand packs in small steps arrive, by checkpoints alone', async () => {
    const world = await filled(
      { limits: small, settings: { packBytes: 8 * kib, blockBytes: 4 * kib } },
      8 * 1024 * kib,
    );
    await enable(world);
    await world.settle();
    await expectEqual(world);
    const packs = (
      await world.b.deps.bucket.list({
        prefix: `images/${(await headerOf(world.b, 'disk')).imageId}/packs/`,
        limit: 1000,
      })
    ).objects;
    expect(packs.length).toBe(1000);
    expect(world.b.handled.filter(({ type }) => type === 'sync').length).toBeGreaterThan(10);
    const leftovers = await world.b.deps.bucket.list({
      prefix: `images/${(await headerOf(world.b, 'disk')).imageId}/syncs/`,
      limit: 10,
    });
    expect(leftovers.objects).toEqual([]);
    const deltas = await world.a.deps.bucket.list({
      prefix: `images/${(await headerOf(world.a, 'disk')).imageId}/deltas/`,
      limit: 10,
    });
    expect(deltas.objects).toEqual([]);
  });

  test('a large sync goes on after a restart of the replica in its middle', async () => {
    const world = await filled({ limits: small, settings: { packBytes: 16 * kib, blockBytes: 4 * kib } });
    await enable(world);
    for (let count = 0; count < 8; count++) await world.run(world.b.handleNext());
    const syncId = (await headerOf(world.b, 'disk')).mirror?.sync?.syncId;
    expect(syncId).toBeDefined();
    world.b.restart();
    await ticksUntilEqual(world, 100);
    await expectEqual(world);
  });

  test('scattered writes leave packs partly dead, and only what lives is copied', async () => {
    const world = await filled({
      limits: { ...small, pieceRangesMax: 3 },
      settings: { packBytes: 64 * kib, blockBytes: 4 * kib },
    });
    const extents = Array.from({ length: 100 }, (_, index) => ({ offset: index * 8 * kib, length: 4 * kib }));
    await world.run(write(world.a, 'disk', 2, extents));
    await enable(world);
    await world.settle();
    await expectEqual(world);
    expect(world.wire.packBytes).toBeLessThan(1024 * kib * 1.25);
  });

  test('progress of a running sync is in the status', async () => {
    const world = await filled({
      limits: { ...small, walkNodesMax: 4096 },
      settings: { packBytes: 16 * kib, blockBytes: 4 * kib },
    });
    await enable(world);
    for (let count = 0; count < 10; count++) await world.run(world.b.handleNext());
    world.clock.advance(1000);
    const { description } = await world.run(imageStatus(world.b.deps, spec('disk')));
    const json = JSON.parse(description!.slice('replaying, '.length)) as Record<string, number | string>;
    expect(json['replay_state']).toBe('syncing');
    expect(json['syncing_percent']).toBeGreaterThan(0);
    expect(json['seconds_until_synced']).toBeGreaterThan(0);
  });
});

describe('loss', () => {
  test('with every message lost, ticks alone finish a sync of many pieces (I4)', async () => {
    const world = await filled({ limits: small, settings: { packBytes: 16 * kib, blockBytes: 4 * kib } });
    for (const site of [world.a, world.b]) site.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await enable(world);
    expect(await ticksUntilEqual(world, 400)).toBeGreaterThan(3);
    await expectEqual(world);
    await world.run(createSnapshot(world.a.deps, spec('disk'), 'user'));
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await ticksUntilEqual(world, 5);
    await expectEqual(world);
    await world.run(demoteImage(world.a.deps, spec('disk')));
    await ticksUntilEqual(world, 5);
    await world.run(promoteImage(world.b.deps, spec('disk')));
    await world.run(write(world.b, 'disk', 5, [{ offset: 0, length: 64 * kib }]));
    await world.run(createMirrorSnapshot(world.b.deps, spec('disk')));
    for (let count = 0; count < 40; count++) await world.minute();
    await expectEqual(world);
    await world.run(disableImage(world.b.deps, spec('disk')));
    for (let count = 0; count < 3; count++) await world.minute();
    await expect(headerOf(world.a, 'disk')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('with every message lost, ticks follow an image that has news for each of them', async () => {
    const world = await filled({});
    await enable(world);
    await world.settle();
    for (const site of [world.a, world.b]) site.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    for (let minutes = 0; minutes < 6; minutes++) {
      await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
      await world.minute();
    }
    const [a, b] = [await headerOf(world.a, 'disk'), await headerOf(world.b, 'disk')];
    const copied = mirrorSnapshots(b).at(-1)?.namespace.primarySnapId;
    expect(mirrorSnapshots(a).at(-1)!.id - copied!).toBeLessThan(2);
  });

  test('a resync whose message is lost is found by ticks', async () => {
    const world = await filled({});
    await enable(world);
    await world.settle();
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.run(write(world.b, 'disk', 3, [{ offset: 0, length: 4 * kib }]));
    await world.run(demoteImage(world.b.deps, spec('disk')));
    await world.settle();
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await world.run(resyncImage(world.b.deps, spec('disk')));
    for (let count = 0; count < 3; count++) await world.minute();
    await expectEqual(world);
  });

  test('lost feed records are found by the full comparison', async () => {
    const world = await filled({});
    await world.minute();
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    await enable(world);
    await world.a.deps.bucket.delete(['pools/rbd/feed/000000000000']);
    world.a.restart();
    expect(await ticksUntilEqual(world, 70)).toBeGreaterThan(30);
  });

  test('an acknowledgement that could not be delivered is repeated', async () => {
    const world = await filled({});
    await enable(world);
    await world.settle();
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    const connect = world.connect.bind(world);
    world.connect = async (...args) => {
      const peer = await connect(...args);
      return new Proxy(peer, {
        get: (target, method) =>
          method === 'ack' ? () => Promise.reject(new Error('lost')) : Reflect.get(target, method),
      });
    };
    await world.settle();
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))).toHaveLength(2);
    world.connect = connect;
    for (let count = 0; count < 3; count++) await world.minute();
    expect(mirrorSnapshots(await headerOf(world.a, 'disk'))).toHaveLength(1);
  });

  test('a primary that is away holds nothing up, and is caught up with when it is back', async () => {
    const world = await filled({});
    await enable(world);
    await world.settle();
    await world.run(write(world.a, 'disk', 4, [{ offset: 0, length: 4 * kib }]));
    world.a.isDown = true;
    world.b.isDown = true;
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    for (let count = 0; count < 3; count++) await world.minute();
    await checkReadable(world.b, 'disk');
    world.a.isDown = false;
    world.b.isDown = false;
    await ticksUntilEqual(world, 3);
    await expectEqual(world);
    expect([...world.a.failures, ...world.b.failures]).toEqual([]);
  });
});

describe('repetition', () => {
  test.each([1, 2, 3, 4, 5])('doubled and shuffled messages change nothing (seed %i)', async (seed) => {
    const world = await filled({ limits: small, settings: { packBytes: 16 * kib, blockBytes: 4 * kib } });
    for (let draws = 0; draws < seed; draws++) world.b.deps.random.fraction();
    for (const site of [world.a, world.b]) site.delivery = { lost: () => false, doubledShare: 0.4, shuffled: true };
    await enable(world);
    await world.settle();
    for (let round = 0; round < 3; round++) {
      await world.run(write(world.a, 'disk', 10 + round, [{ offset: round * 128 * kib, length: 96 * kib }]));
      await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
      await world.settle(2000);
    }
    await ticksUntilEqual(world, 20);
    await expectEqual(world);
    expect(mirrorSnapshots(await headerOf(world.b, 'disk')).map(({ namespace }) => namespace.state)).toEqual([
      'non-primary',
    ]);
    expect([...world.a.failures, ...world.b.failures]).toEqual([]);
  });

  test('a slot is taken once', async () => {
    const world = await filled({});
    await enable(world);
    await world.settle();
    const { imageId } = await headerOf(world.a, 'disk');
    const slotMs = world.clock.nowMs() + 60_000; // the snapshot that enabling took covers the slots before it
    for (let count = 0; count < 3; count++)
      await world.a.deps.queue.send([{ type: 'snapshot', pool: 'rbd', imageId, slotMs }]);
    await world.settle();
    await world.a.deps.queue.send([{ type: 'snapshot', pool: 'rbd', imageId, slotMs: slotMs - 60_000 }]);
    await world.settle();
    expect((await headerOf(world.a, 'disk')).nextSnapshotId).toBe(3);
  });
});

describe('requests', () => {
  test('an initial sync costs at most 2.3 per pack, all told', async () => {
    const packBytes = 64 * kib;
    const limits = { pieceBytesMax: 16.5 * packBytes, inlineBytesMax: 12 * packBytes };
    const world = await filled({ limits, settings: { packBytes, blockBytes: 8 * kib } }, 128 * packBytes, 256 * kib);
    const [a, b] = [world.a.deps.bucket.counts(), world.b.deps.bucket.counts()];
    await enable(world);
    await world.settle();
    const [fromA, fromB] = [requests(a, world.a.deps.bucket.counts()), requests(b, world.b.deps.bucket.counts())];
    expect((await headerOf(world.b, 'disk')).root?.hash).toBe((await headerOf(world.a, 'disk')).root?.hash);
    expect((fromA.all + fromB.all) / 128).toBeLessThanOrEqual(2.3);
  });
});

describe('a connection that breaks now and then', () => {
  test('delays a copy, and loses nothing of it', async () => {
    const world = await filled({ limits: small, settings: { packBytes: 16 * kib, blockBytes: 4 * kib } });
    const connect = world.connect.bind(world);
    world.connect = async (...args) => {
      const peer = await connect(...args);
      const broken = () => Promise.reject(new FarsideError('ECONNREFUSED', 'broken', { retry: 'later' }));
      return new Proxy(peer, {
        get: (target, method) => {
          const isSafe = method === 'then' || method === 'wake' || method === 'heartbeat';
          return (!isSafe && world.a.deps.random.fraction() < 0.3 ? broken : Reflect.get(target, method)) as unknown;
        },
      });
    };
    await enable(world);
    await world.settle();
    await expectEqual(world);
    expect([...world.a.failures, ...world.b.failures]).toEqual([]);
  });

  test('and one that is gone for a while delays it until ticks find it again', async () => {
    const world = await filled({ limits: small, settings: { packBytes: 16 * kib, blockBytes: 4 * kib } });
    await enable(world);
    for (let count = 0; count < 8; count++) await world.run(world.b.handleNext());
    world.a.isDown = true;
    for (let count = 0; count < 12; count++) await world.run(world.b.handleNext());
    world.a.isDown = false;
    await ticksUntilEqual(world, 10);
    await expectEqual(world);
  });
});
