import { expect, test } from 'vitest';

import { createMirrorSnapshot, demoteImage, enableImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { mirrorLag } from '../../lib/mirror/status/lag.ts';
import { makeImage, requests, spec, World, write, type TestSite } from './two-sites.ts';

const kib = 1024;
const minuteMs = 60_000;

async function mirrored(): Promise<World> {
  const world = new World();
  await world.pair();
  await world.run(makeImage(world.a, 'disk', 256 * kib));
  await world.run(write(world.a, 'disk', 7, [{ offset: 0, length: 64 * kib }]));
  await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
  await world.settle();
  await world.minute();
  await world.minute();
  return world;
}

const lagOf = (site: TestSite) => mirrorLag(site.deps, ['rbd']);

/** A snapshot at the primary that the replica reads of and cannot fetch. */
async function cutOff(world: World): Promise<void> {
  world.b.delivery = { ...world.b.delivery, lost: () => true };
  await world.run(write(world.a, 'disk', 8, [{ offset: 0, length: 4 * kib }]));
  await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
  await world.minute();
  world.a.isDown = true;
}

test('replicas in step have no lag, however old their newest point, for one GET a peer', async () => {
  const world = await mirrored();
  for (let count = 0; count < 30; count++) await world.minute();
  const before = world.b.deps.bucket.counts();
  expect(await lagOf(world.b)).toEqual({ lagMs: 0, peersUnreachable: 0 });
  expect(requests(before, world.b.deps.bucket.counts())).toMatchObject({ A: 0, B: 1 });
  expect(await lagOf(world.a)).toEqual({ lagMs: 0, peersUnreachable: 0 });
});

test('a replica that cannot fetch a snapshot lags by the age of its newest point, until it has it', async () => {
  const world = await mirrored();
  await cutOff(world);
  const early = await lagOf(world.b);
  expect(early.lagMs).toBeGreaterThan(minuteMs);
  for (let count = 0; count < 10; count++) await world.minute();
  expect((await lagOf(world.b)).lagMs).toBeGreaterThanOrEqual(early.lagMs + 10 * minuteMs);
  world.a.isDown = false;
  await world.minute();
  await world.minute();
  expect(await lagOf(world.b)).toEqual({ lagMs: 0, peersUnreachable: 0 });
});

test('snapshot after snapshot does not make a lag look young', async () => {
  const world = await mirrored();
  const start = world.clock.nowMs();
  world.b.delivery = { ...world.b.delivery, lost: () => true };
  (world.b.deps.limits as { pollInlineMax: number }).pollInlineMax = 0;
  for (let count = 0; count < 10; count++) {
    await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
    await world.minute();
  }
  expect((await lagOf(world.b)).lagMs).toBeGreaterThanOrEqual(world.clock.nowMs() - start);
});

test('a peer that polls cannot reach counts, also for a process that never has', async () => {
  const world = await mirrored();
  world.a.isDown = true;
  await world.minute();
  expect((await lagOf(world.b)).peersUnreachable).toBe(0);
  await world.minute();
  expect((await lagOf(world.b)).peersUnreachable).toBe(1);
  world.a.isDown = false;
  await world.minute();
  expect((await lagOf(world.b)).peersUnreachable).toBe(0);
  world.a.isDown = true;
  world.b.restart();
  await world.minute();
  expect((await lagOf(world.b)).peersUnreachable).toBe(1);
});

test('a promoted image and a pool that does not mirror have no lag', async () => {
  const world = await mirrored();
  await cutOff(world);
  await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
  expect((await lagOf(world.b)).lagMs).toBe(0);
  const lone = new World();
  await lone.a.add('rbd');
  await lone.pair('rx-only');
  expect(await lagOf(lone.a)).toEqual({ lagMs: 0, peersUnreachable: 0 });
});

test('an image that is demoted on purpose has no lag', async () => {
  const world = await mirrored();
  await world.run(demoteImage(world.a.deps, spec('disk')));
  await world.settle();
  await world.minute();
  await world.minute();
  expect((await lagOf(world.b)).lagMs).toBe(0);
  expect((await lagOf(world.a)).lagMs).toBe(0);
});
