// Points in time that a replica keeps, and failovers tried out of them, while replication goes on.

import { beforeEach, describe, expect, test } from 'vitest';

import { openHeader } from '../../lib/image/access.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { flattenStep } from '../../lib/image/clones/flatten.ts';
import { mirrorSnapshots, type Header } from '../../lib/image/header.ts';
import { createSnapshot, rollbackSnapshot } from '../../lib/image/snapshots.ts';
import { createMirrorSnapshot, demoteImage, enableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { imageRetention, setImageRetention, setPoolRetention } from '../../lib/mirror/verbs/retention-verbs.ts';
import { cleanUpTestFailovers, listTestFailovers, startTestFailover } from '../../lib/mirror/verbs/test-failover.ts';
import { checkReadable, contentOf, headContent, headerOf, makeImage, spec, World, write } from './two-sites.ts';

const KiB = 1024;
const hourMs = 3_600_000;
const sizeBytes = 256 * KiB;
let world: World;
beforeEach(async () => {
  world = new World();
  await world.pair();
  await makeImage(world.a, 'disk', sizeBytes);
  await write(world.a, 'disk', 1, [{ offset: 0, length: sizeBytes }]);
  await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
  await world.settle();
});

/** Writes, takes a mirror snapshot, lets it arrive (unless b is down), and lets an hour pass. Gives the content. */
async function hour(seed: number): Promise<Buffer> {
  await write(world.a, 'disk', seed, [{ offset: 0, length: 4 * KiB }]);
  const content = await headContent(world.a, 'disk');
  await world.run(createMirrorSnapshot(world.a.deps, spec('disk')));
  await world.settle();
  world.clock.advance(hourMs);
  return content;
}

const copies = (header: Header): ReturnType<typeof mirrorSnapshots> =>
  mirrorSnapshots(header).filter(({ namespace }) => namespace.primaryMirrorUuid);

async function keptContents(): Promise<Buffer[]> {
  const header = await headerOf(world.b, 'disk');
  return Promise.all(copies(header).map(({ root }) => contentOf(world.b, header, root, sizeBytes)));
}

const holds = (contents: readonly Buffer[], wanted: Buffer): boolean => contents.some((one) => one.equals(wanted));

describe('retention', () => {
  test('keeps points at the replica, each whole, and lets go of them in time', async () => {
    await world.run(setPoolRetention(world.b.deps, 'rbd', '3h'));
    const contents: Buffer[] = [];
    for (let seed = 2; seed < 8; seed++) contents.push(await hour(seed));
    const kept = await keptContents();
    expect(kept).toHaveLength(3);
    for (const content of contents.slice(-3)) expect(holds(kept, content)).toBe(true);
    await checkReadable(world.b, 'disk');
    const { keep, from, points } = await imageRetention(world.b.deps, spec('disk'));
    expect({ keep, from }).toEqual({ keep: '3h', from: 'pool' });
    expect(points).toHaveLength(3);
    // An image's own goes before, and acts at once.
    await world.run(setImageRetention(world.b.deps, spec('disk'), '2h'));
    expect(copies(await headerOf(world.b, 'disk'))).toHaveLength(2);
    await world.run(setImageRetention(world.b.deps, spec('disk'), 'none'));
    await world.run(setImageRetention(world.b.deps, spec('disk'), undefined));
    expect(copies(await headerOf(world.b, 'disk'))).toHaveLength(1);
  });

  test('a replica that was away copies the points that it is to keep, while they are still there', async () => {
    await world.run(setImageRetention(world.b.deps, spec('disk'), '24h'));
    world.a.isDown = true;
    const contents = [await hour(2), await hour(3), await hour(4)];
    world.a.isDown = false;
    for (let minutes = 0; minutes < 4; minutes++) await world.minute();
    const kept = await keptContents();
    for (const content of contents) expect(holds(kept, content)).toBe(true);
    expect((await headContent(world.b, 'disk')).equals(contents.at(-1)!)).toBe(true);
  });

  test('the same with checkpoints and every message lost', async () => {
    world = new World({ limits: { inlineBytesMax: 1 } });
    await world.pair();
    await makeImage(world.a, 'disk', sizeBytes);
    await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
    await world.settle();
    await world.run(setPoolRetention(world.b.deps, 'rbd', '24h'));
    world.b.delivery = { lost: () => true, doubledShare: 0, shuffled: false };
    world.a.isDown = true;
    const contents = [await hour(2), await hour(3)];
    world.a.isDown = false;
    for (let minutes = 0; minutes < 12; minutes++) await world.minute();
    const kept = await keptContents();
    for (const content of contents) expect(holds(kept, content)).toBe(true);
  });

  test('without a policy nothing in between is copied or kept', async () => {
    world.a.isDown = true;
    const between = await hour(2);
    const newest = await hour(3);
    world.a.isDown = false;
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    const kept = await keptContents();
    expect(holds(kept, between)).toBe(false);
    expect(holds(kept, newest)).toBe(true);
  });

  test('after a promotion the image can be rolled back to any kept point; a resync leaves those it shares', async () => {
    await world.run(setImageRetention(world.b.deps, spec('disk'), '24h'));
    const wanted = await hour(2);
    await hour(3);
    const header = await headerOf(world.b, 'disk');
    const contents = await keptContents();
    const point = copies(header)[contents.findIndex((one) => one.equals(wanted))]!;
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    await world.run(createMirrorSnapshot(world.b.deps, spec('disk')));
    await world.run(rollbackSnapshot(world.b.deps, spec('disk'), { id: point.id }));
    expect((await headContent(world.b, 'disk')).equals(wanted)).toBe(true);
    await world.run(demoteImage(world.b.deps, spec('disk')));
    await world.run(resyncImage(world.b.deps, spec('disk')));
    for (let minutes = 0; minutes < 2; minutes++) await world.minute();
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'))).toBe(true);
    expect(holds(await keptContents(), wanted)).toBe(true);
  });
});

describe('a test failover', () => {
  const drill = spec('drill');

  test('is writable at once, holds its snapshot while replication goes on, and is cleaned up', async () => {
    const then = await hour(2);
    await world.run(startTestFailover(world.b.deps, spec('disk'), drill));
    await write(world.b, 'drill', 77, [{ offset: 64 * KiB, length: 4 * KiB }]);
    await createSnapshot(world.b.deps, drill, 'mine');
    const written = await headContent(world.b, 'drill');
    expect(written.subarray(0, 4 * KiB).equals(then.subarray(0, 4 * KiB))).toBe(true);
    for (let seed = 3; seed < 6; seed++) await hour(seed);
    expect((await headContent(world.b, 'disk')).equals(await headContent(world.a, 'disk'))).toBe(true);
    expect((await headContent(world.b, 'drill')).equals(written)).toBe(true);
    expect((await headerOf(world.b, 'disk')).snapshots.some(({ namespace }) => namespace.type === 'trash')).toBe(true);
    expect((await listTestFailovers(world.b.deps, spec('disk'))).map(({ image }) => image)).toEqual(['drill']);
    await world.run(cleanUpTestFailovers(world.b.deps, spec('disk')));
    await world.settle();
    await expect(openHeader(world.b.deps, drill)).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await headerOf(world.b, 'disk')).snapshots.some(({ namespace }) => namespace.type === 'trash')).toBe(false);
  });

  test('of a kept point; one of several is cleaned up, and what is no test stays', async () => {
    await world.run(setImageRetention(world.b.deps, spec('disk'), '24h'));
    const wanted = await hour(2);
    await hour(3);
    const header = await headerOf(world.b, 'disk');
    const contents = await keptContents();
    const { id } = copies(header)[contents.findIndex((one) => one.equals(wanted))]!;
    await world.run(startTestFailover(world.b.deps, spec('disk'), drill, { id }));
    await world.run(startTestFailover(world.b.deps, spec('disk'), spec('drill-2')));
    await world.run(startTestFailover(world.b.deps, spec('disk'), spec('drill-3')));
    await cloneImage(world.b.deps, spec('disk'), { id }, spec('clone'));
    expect((await headContent(world.b, 'drill')).equals(wanted)).toBe(true);
    while (!(await world.run(flattenStep(world.b.deps, spec('drill-3')))).done);
    const listed = await listTestFailovers(world.b.deps, spec('disk'));
    expect(listed.map(({ image }) => image).toSorted()).toEqual(['drill', 'drill-2']);
    const second = listed.find(({ image }) => image === 'drill-2')!;
    await world.run(cleanUpTestFailovers(world.b.deps, spec('disk'), second.id));
    await createSnapshot(world.b.deps, drill, 's');
    await cloneImage(world.b.deps, drill, { name: 's' }, spec('of-drill'));
    await expect(world.run(cleanUpTestFailovers(world.b.deps, spec('disk')))).rejects.toMatchObject({
      code: 'ENOTEMPTY',
    });
    for (const name of ['drill', 'drill-3', 'clone', 'of-drill']) await checkReadable(world.b, name);
  });

  test('is refused where there is no replica', async () => {
    await expect(world.run(startTestFailover(world.a.deps, spec('disk'), drill))).rejects.toMatchObject({
      code: 'EINVAL',
    });
    await makeImage(world.b, 'plain', sizeBytes);
    await expect(world.run(startTestFailover(world.b.deps, spec('plain'), drill))).rejects.toMatchObject({
      code: 'EINVAL',
    });
    await expect(world.run(startTestFailover(world.b.deps, spec('disk'), drill, { id: 999 }))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});
