// Two sites with an image that is mirrored by its journal, and what a writer does to it.

import { expect } from 'vitest';

import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { openHead } from '../../lib/image/journal/fold.ts';
import { announce } from '../../lib/mirror/peers/announce.ts';
import { enableImage } from '../../lib/mirror/verbs/images.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import {
  checkReadable,
  contentOf,
  headerOf,
  makeImage,
  spec,
  World,
  write,
  type TestSite,
  type WorldOptions,
} from './two-sites.ts';

export const kib = 1024;
export const sizeBytes = 1024 * kib;
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };

export async function paired({
  isEmpty = false,
  ...options
}: WorldOptions & { isEmpty?: boolean } = {}): Promise<World> {
  const world = new World(options);
  await world.pair();
  await world.run(makeImage(world.a, 'disk', sizeBytes));
  if (!isEmpty) await world.run(write(world.a, 'disk', 1, [{ offset: 0, length: 200 * kib }]));
  return world;
}

export async function mirrored(): Promise<World> {
  const world = await paired();
  await world.run(enableImage(world.a.deps, spec('disk'), 'journal'));
  await world.settle();
  return world;
}

export const attach = (world: World, site: TestSite, image = 'disk'): Promise<AttachedImage> =>
  world.run(
    AttachedImage.open(site.deps, spec(image), { owner, limits: attachLimitsDefault, force: true, isGone: () => true }),
  );

/** Writes and flushes: one segment. */
export async function put(
  world: World,
  image: AttachedImage,
  offset: number,
  byte: number,
  length = 8 * kib,
): Promise<void> {
  await world.run(image.write(offset, Buffer.alloc(length, byte)).then(() => image.flush()));
}

/** As the route does that writers call. */
export async function advance(world: World, site: TestSite, { record = false } = {}): Promise<void> {
  const { value: pool } = await world.run(readPool(site.deps, 'rbd'));
  const { mirror } = await headerOf(site, 'disk');
  await world.run(announce(site.deps, pool, { globalId: mirror!.globalId }, { record }));
  await world.settle();
}

/** The head: root and slots. */
export async function headOf(world: World, site: TestSite, image = 'disk'): Promise<Buffer> {
  const { value } = await world.run(openHead(site.deps, spec(image)));
  return world.run(contentOf(site, value, value.root, value.sizeBytes));
}

export async function expectEqual(world: World, image = 'disk'): Promise<void> {
  const [a, b] = [await headOf(world, world.a, image), await headOf(world, world.b, image)];
  expect(b.equals(a)).toBe(true);
  await world.run(checkReadable(world.b, image));
  expect([...world.a.failures, ...world.b.failures]).toEqual([]);
}
