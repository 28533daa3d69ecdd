// A replica that is taken from its primary while the journal is being copied: what it had said to have is in the new head, and an
// attempt that dies on its way ends nothing.

import { describe, expect, test } from 'vitest';

import type { AttachedImage } from '../../lib/attach/attached-image.ts';
import { FarsideError } from '../../lib/errors.ts';
import { userSnapshots } from '../../lib/image/header.ts';
import { statusFrom } from '../../lib/mirror/primary/acknowledge.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { handleSync } from '../../lib/mirror/replica/sync.ts';
import { demoteImage, disableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { advance, attach, expectEqual, headOf, kib, mirrored } from './journal-world.ts';
import { headerOf, spec, type TestSite, type World } from './two-sites.ts';

type Raced = { world: World; image: AttachedImage; follow: () => Promise<void>; said: () => Promise<number> };

/** Behind what the image has already. */
const placeOf = (at: number): number => 256 * kib + at * 16 * kib;

/** Place n gets the byte n + 1: one slot. */
const write = (image: AttachedImage, at: number): Promise<void> =>
  image.write(placeOf(at), Buffer.alloc(8 * kib, at + 1)).then(() => image.flush());

/** What was written there; 0: nothing. */
const bytesAt = (content: Buffer, places: readonly number[]): number[] =>
  places.map((at) => content.readUInt8(placeOf(at)));

/** A replica with two slots. `follow` is what a wake-up does; `said`: the slots that b has told a that it has. */
async function raced(): Promise<Raced> {
  const world = await mirrored();
  const { a, b } = world;
  const image = await attach(world, a);
  for (const at of [0, 1]) await world.run(write(image, at));
  await advance(world, a);
  const { globalId } = (await headerOf(b, 'disk')).mirror!;
  const peerOf = async ({ deps }: TestSite): Promise<string> => (await readPool(deps, 'rbd')).value.peers[0]!.uuid;
  const [source, replica] = [await peerOf(b), await peerOf(a)];
  const follow = async (): Promise<void> => {
    world.clock.advance(11_000); // so that it is reported again
    await handleSync(b.deps, { type: 'sync', pool: 'rbd', peerUuid: source, globalId });
  };
  const said = async (): Promise<number> => (await statusFrom(a.deps, 'rbd', globalId, replica))!.position!.seq;
  return { world, image, follow, said };
}

/** Calls `act` before the swap takes effect that takes the replica from its primary, the first `count` times. */
function beforeSwap(site: TestSite, act: () => Promise<unknown>, count = 1): void {
  const { driver } = site;
  const store = driver.put.bind(driver);
  let left = count;
  driver.put = async (key, body, condition) => {
    const isSwap = key.endsWith('/header.json') && !Buffer.from(body).toString().includes('"state":"following"');
    if (isSwap && left-- > 0) await act();
    return await store(key, body, condition);
  };
}

const dies = async (): Promise<never> => {
  throw new FarsideError('EIO', 'died', { retry: 'never' });
};

const verbs: [string, (site: TestSite) => Promise<void>][] = [
  ['promotion', ({ deps }) => promoteImage(deps, spec('disk'), { force: true })],
  ['disable', ({ deps }) => disableImage(deps, spec('disk'), { force: true })],
];

describe.each(verbs)('a forced %s', (_, take) => {
  test('has every slot that was reported, though it was copied between fold and swap', async () => {
    const { world, image, follow, said } = await raced();
    beforeSwap(world.b, async () => {
      await write(image, 2);
      await follow();
    });
    await world.run(take(world.b));
    const { journal } = await headerOf(world.b, 'disk');
    expect(journal?.state).toBe('closed');
    expect(await said()).toBeLessThanOrEqual(journal!.folded.seq);
    expect(bytesAt(await headOf(world, world.b), [0, 1, 2])).toEqual([1, 2, 0]);
  });

  test('that comes after the copying has the slot', async () => {
    const { world, image, follow, said } = await raced();
    await world.run(write(image, 2));
    await world.run(follow());
    expect(await said()).toBe(3);
    await world.run(take(world.b));
    expect(bytesAt(await headOf(world, world.b), [0, 1, 2])).toEqual([1, 2, 3]);
  });

  test('that dies before its swap holds the copying up for half a minute, and no longer', async () => {
    const { world, image, follow } = await raced();
    beforeSwap(world.b, dies);
    await expect(world.run(take(world.b))).rejects.toThrow('died');
    await world.run(write(image, 2));
    await world.run(follow());
    expect(bytesAt(await headOf(world, world.b), [2])).toEqual([0]);
    await world.minute(); // ticks alone
    await expectEqual(world);
    for (const at of [3, 4]) await world.run(write(image, at));
    await advance(world, world.a);
    await expectEqual(world);
  });

  test('that died is finished by the next, at once', async () => {
    const { world, image } = await raced();
    beforeSwap(world.b, dies);
    await expect(world.run(take(world.b))).rejects.toThrow('died');
    await world.run(write(image, 2));
    await advance(world, world.a);
    await world.run(take(world.b));
    expect(bytesAt(await headOf(world, world.b), [0, 1, 2])).toEqual([1, 2, 0]);
  });

  test('that is so slow that its fence is passed begins again, with what came', async () => {
    const { world, image, follow, said } = await raced();
    let at = 2;
    const late = async (): Promise<void> => {
      await write(image, at++);
      world.clock.advance(60_000);
      await follow();
    };
    beforeSwap(world.b, late, 3);
    await world.run(take(world.b));
    expect(await said()).toBe(5);
    expect(bytesAt(await headOf(world, world.b), [0, 1, 2, 3, 4])).toEqual([1, 2, 3, 4, 5]);
    expect((await headerOf(world.b, 'disk')).journal).toMatchObject({ state: 'closed', folded: { seq: 5 } });
  });
});

describe('after a forced promotion', () => {
  /** Back to its primary, with a resync. */
  async function goBack(world: World): Promise<void> {
    await world.run(demoteImage(world.b.deps, spec('disk')));
    await world.run(resyncImage(world.b.deps, spec('disk')));
    world.a.isDown = false;
    await world.minute();
  }

  test('a replica that goes back to its primary, to the very slot that has the fence, follows again', async () => {
    const { world, image } = await raced();
    world.a.isDown = true;
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    const { epoch } = (await headerOf(world.b, 'disk')).journal!.folded;
    await goBack(world);
    expect((await headerOf(world.b, 'disk')).journal).toMatchObject({ state: 'following', folded: { epoch } });
    for (const at of [2, 3]) await world.run(write(image, at));
    await advance(world, world.a);
    await world.minute();
    await expectEqual(world);
    expect(userSnapshots(await headerOf(world.b, 'disk'))).toEqual([]);
  });

  test('one that goes back to a point behind the fence reads, and passes on, what the primary has in that slot', async () => {
    const { world, image } = await raced();
    await world.join(world.b, world.c);
    world.a.isDown = true;
    await world.run(promoteImage(world.b.deps, spec('disk'), { force: true }));
    for (const at of [2, 3]) await world.run(write(image, at));
    await world.run(image.close());
    await goBack(world);
    await world.minute();
    await expectEqual(world);
    const source = await headOf(world, world.a);
    expect(bytesAt(source, [2, 3])).toEqual([3, 4]);
    await world.run(resyncImage(world.c.deps, spec('disk')));
    for (let minute = 0; minute < 2; minute++) await world.minute();
    expect((await headOf(world, world.c)).equals(source)).toBe(true);
    expect(world.c.failures).toEqual([]);
  });
});
