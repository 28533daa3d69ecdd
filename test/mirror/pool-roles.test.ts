// Verbs on all images of a pool; what the operator sees is in test/cli/session-pools.test.ts.

import { expect, test } from 'vitest';

import { enableImage } from '../../lib/mirror/verbs/images.ts';
import { demotePool, promotePool } from '../../lib/mirror/verbs/pool-roles.ts';
import { makeImage, spec, World } from './two-sites.ts';

test('a call that ran out of time says where the next one goes on', async () => {
  const world = new World();
  await world.pair();
  const names = Array.from({ length: 25 }, (_, index) => `disk-${String(index).padStart(2, '0')}`);
  for (const name of names) {
    await makeImage(world.a, name, 512);
    await world.run(enableImage(world.a.deps, spec(name), 'snapshot'));
  }
  await world.settle();
  // Each demotion takes 15 seconds: ten at once, twice, then the call is over.
  const { queue } = world.a.deps;
  const slow = { ...queue, send: async () => world.clock.sleep(15_000) };
  const deps = { ...world.a.deps, queue: slow };
  const first = await world.run(demotePool(deps, 'rbd'));
  expect(first).toEqual({ changed: 20, failed: [], next: 'disk-19' });
  expect(await world.run(demotePool(deps, 'rbd', { after: first.next }))).toEqual({ changed: 5, failed: [] });
  expect(await world.run(demotePool(deps, 'rbd'))).toEqual({ changed: 0, failed: [] });
  await world.settle();
  expect(await world.run(promotePool(world.b.deps, 'rbd', { after: 'disk-22' }))).toMatchObject({ changed: 2 });
});
