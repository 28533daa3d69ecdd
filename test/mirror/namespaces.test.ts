// Namespaces in mirroring: each with its own mode and identity, mapped to a namespace at the peer.

import { expect, test } from 'vitest';

import { createImage } from '../../lib/image/images.ts';
import { createMirrorSnapshot, demoteImage, disableImage, enableImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { createNamespace, removeNamespace } from '../../lib/mirror/namespace.ts';
import { poolInfo } from '../../lib/mirror/verbs/pool-info.ts';
import { disablePool, enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { dropKept } from '../../lib/mirror/verbs/trash.ts';
import { imageStatus, poolStatus } from '../../lib/mirror/status/status.ts';
import { headContent, headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

const code = (expected: string) => expect.objectContaining({ code: expected }) as unknown;
const extent = { offset: 0, length: 4096 };

async function mirror(site: TestSite, namespace: string, remoteNamespace?: string): Promise<void> {
  await createNamespace(site.deps, 'rbd', namespace);
  await enablePool(site.deps, 'rbd', 'image', { namespace, remoteNamespace });
}

async function image(site: TestSite, namespace: string, seed: number): Promise<void> {
  await createImage(site.deps, spec('disk', namespace), { sizeBytes: 64 * 1024, objectBytes: 64 * 1024 });
  await write(site, 'disk', seed, [extent], namespace);
}

const sameContent = async (world: World, here: string, there: string): Promise<boolean> =>
  (await headContent(world.a, 'disk', here)).equals(await headContent(world.b, 'disk', there));

test('images of a namespace mirror into the namespace that it is mapped to, and fail over and back there', async () => {
  const world = new World();
  await world.pair();
  await mirror(world.a, 'x', 'copy-of-x');
  await mirror(world.b, 'copy-of-x', 'x');
  await image(world.a, 'x', 1);
  await world.run(enableImage(world.a.deps, spec('disk', 'x'), 'snapshot'));
  await world.settle();
  expect(await sameContent(world, 'x', 'copy-of-x')).toBe(true);
  expect((await imageStatus(world.b.deps, spec('disk', 'copy-of-x'))).description).toContain('replaying');
  expect((await poolStatus(world.b.deps, 'rbd', { namespace: 'copy-of-x' })).summary.states).not.toEqual({});
  expect((await poolStatus(world.b.deps, 'rbd')).summary.states).toEqual({});

  await world.run(demoteImage(world.a.deps, spec('disk', 'x')));
  await world.settle();
  await world.run(promoteImage(world.b.deps, spec('disk', 'copy-of-x')));
  await write(world.b, 'disk', 2, [extent], 'copy-of-x');
  await world.run(createMirrorSnapshot(world.b.deps, spec('disk', 'copy-of-x')));
  await world.settle();
  expect(await sameContent(world, 'x', 'copy-of-x')).toBe(true);
  expect((await headerOf(world.a, 'disk', 'x')).mirror?.problem).toBeUndefined();
});

test('a poll knows what is settled in a namespace, and removal finds its way', async () => {
  const world = new World();
  await world.pair();
  for (const site of [world.a, world.b]) await mirror(site, 'x');
  await image(world.a, 'x', 1);
  await world.run(enableImage(world.a.deps, spec('disk', 'x'), 'snapshot'));
  await world.minute();
  world.b.handled.length = 0;
  await world.minute();
  expect(world.b.handled).toEqual([]);
  await expect(disablePool(world.b.deps, 'rbd', { namespace: 'x' })).rejects.toEqual(code('EINVAL'));
  await world.run(disableImage(world.a.deps, spec('disk', 'x')));
  await world.settle();
  await expect(headerOf(world.b, 'disk', 'x')).rejects.toEqual(code('ENOENT'));
  await disablePool(world.b.deps, 'rbd', { namespace: 'x' });
  await expect(removeNamespace(world.b.deps, 'rbd', 'x')).rejects.toEqual(code('EBUSY'));
  await dropKept(world.b.deps, 'rbd', 'x');
  await removeNamespace(world.b.deps, 'rbd', 'x');
});

test('a namespace that is not mirrored at the other site mirrors nothing there, until it is', async () => {
  const world = new World();
  await world.pair();
  await mirror(world.a, 'x');
  await image(world.a, 'x', 1);
  await makeImage(world.a, 'disk', 512);
  for (const namespace of ['', 'x']) await world.run(enableImage(world.a.deps, spec('disk', namespace), 'snapshot'));
  await world.minute();
  await expect(headerOf(world.b, 'disk', 'x')).rejects.toEqual(code('ENOENT'));
  expect((await headerOf(world.b, 'disk')).mirror?.state).toBe('enabled');
  await mirror(world.b, 'x');
  await world.settle();
  expect(await sameContent(world, 'x', 'x')).toBe(true);
});

test('a pool in mode init-only has peers and mirrored namespaces, and mirrors nothing of its own', async () => {
  const world = new World();
  await world.pair();
  await enablePool(world.b.deps, 'rbd', 'init-only');
  for (const site of [world.a, world.b]) await mirror(site, 'x');
  await image(world.a, 'x', 1);
  await makeImage(world.a, 'disk', 512);
  for (const namespace of ['', 'x']) await world.run(enableImage(world.a.deps, spec('disk', namespace), 'snapshot'));
  await world.minute();
  expect(await sameContent(world, 'x', 'x')).toBe(true);
  await expect(headerOf(world.b, 'disk')).rejects.toEqual(code('ENOENT'));
});

test('from init-only, a pool may be mapped to a namespace at the peer, and is mapped back when it is enabled without a word of it', async () => {
  const world = new World();
  await world.pair();
  for (const site of [world.a, world.b]) await enablePool(site.deps, 'rbd', 'init-only');
  await enablePool(world.b.deps, 'rbd', 'image', { remoteNamespace: 'x' });
  await createNamespace(world.a.deps, 'rbd', 'x');
  await enablePool(world.a.deps, 'rbd', 'image', { namespace: 'x', remoteNamespace: '' });
  await image(world.a, 'x', 1);
  await world.run(enableImage(world.a.deps, spec('disk', 'x'), 'snapshot'));
  await world.settle();
  expect(await sameContent(world, 'x', '')).toBe(true);
  await expect(enablePool(world.b.deps, 'rbd', 'image', { remoteNamespace: 'y' })).rejects.toEqual(code('EINVAL'));

  await world.run(disableImage(world.a.deps, spec('disk', 'x')));
  await world.settle();
  await enablePool(world.b.deps, 'rbd', 'init-only');
  await enablePool(world.b.deps, 'rbd', 'image');
  expect(await poolInfo(world.b.deps, 'rbd')).not.toHaveProperty('remote_namespace');
});
