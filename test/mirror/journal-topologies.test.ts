// Journals that more than one site follows: one primary with two replicas, and a chain. A replica that is slow, or disconnected, or
// comes back to slots that were collected meanwhile is never passed over in silence, and never goes backwards.

import { describe, expect, test } from 'vitest';

import { createHash } from 'node:crypto';
import { demoteImage, enableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { disconnectClients } from '../../lib/mirror/primary/disconnect.ts';
import { journalStatus } from '../../lib/mirror/primary/journal-report.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { imageStatus } from '../../lib/mirror/status/status.ts';
import { collect } from '../image/model.ts';
import { advance, attach, headOf, kib, put, sizeBytes } from './journal-world.ts';
import { headerOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';

const disk = spec('disk');
const twoDaysMs = 2 * 24 * 60 * 60 * 1000;

async function mirrored(world: World): Promise<World> {
  await world.run(makeImage(world.a, 'disk', sizeBytes));
  await world.run(write(world.a, 'disk', 1, [{ offset: 0, length: 200 * kib }]));
  await world.run(enableImage(world.a.deps, disk, 'journal'));
  await world.minute();
  return world;
}

/** a feeds b and c. */
async function star(): Promise<World> {
  const world = new World();
  await world.join(world.a, world.b);
  await world.join(world.a, world.c);
  return mirrored(world);
}

/** a feeds b, and b feeds c. */
async function chain(): Promise<World> {
  const world = new World();
  await world.join(world.a, world.b, { direction: 'rx-tx' });
  await world.join(world.b, world.c);
  return mirrored(world);
}

const hashOf = async (world: World, site: TestSite): Promise<string> =>
  createHash('sha256')
    .update(await headOf(world, site))
    .digest('hex');

/** A writer at a, and what the image was after each of its flushes. */
class Writer {
  readonly world: World;
  readonly image: Awaited<ReturnType<typeof attach>>;
  readonly contents: string[] = [];
  #count = 0;

  private constructor(world: World, image: Awaited<ReturnType<typeof attach>>) {
    this.world = world;
    this.image = image;
  }

  static async attach(world: World): Promise<Writer> {
    const writer = new Writer(world, await attach(world, world.a));
    await writer.#note();
    await world.settle();
    return writer;
  }

  /** Overwrites the same few places with bytes that do not compress, so that what lay there is dead; one segment each. */
  async flush(times = 1): Promise<void> {
    for (let time = 0; time < times; time++, this.#count++) {
      const data = Buffer.from(this.world.a.deps.random.bytes(128 * kib));
      await this.world.run(this.image.write((this.#count % 2) * 128 * kib, data).then(() => this.image.flush()));
      await this.#note();
    }
    await advance(this.world, this.world.a);
  }

  async #note(): Promise<void> {
    const bytes = await this.world.run(this.image.read(0, sizeBytes));
    this.contents.push(createHash('sha256').update(bytes).digest('hex'));
  }

  /** How many flushes the replica has; -1: what it holds the primary never held. */
  async standOf(site: TestSite): Promise<number> {
    return this.contents.indexOf(await hashOf(this.world, site));
  }

  get newest(): number {
    return this.contents.length - 1;
  }
}

/** Two days go by; what is folded and dead is gone from the site's bucket. */
async function collectAfterDays(world: World, site: TestSite): Promise<number> {
  await world.run(headOf(world, site)); // folds
  world.clock.advance(twoDaysMs);
  const { deletedPacks } = await world.run(collect(site.deps, 'disk'));
  return deletedPacks;
}

const descriptionAt = async (world: World, site: TestSite): Promise<string | undefined> =>
  (await world.run(imageStatus(site.deps, disk))).description;

describe('one journal and two replicas', () => {
  test('each follows by itself: one that is away holds up nobody, and its position holds the minimum set until it is disconnected', async () => {
    const world = await star();
    const writer = await Writer.attach(world);
    await writer.flush(2);
    await world.minute();
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([2, 2]);
    world.c.isDown = true;
    await writer.flush(3);
    await world.minute();
    await headOf(world, world.a); // folds
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([5, 2]);
    const { peers } = (await world.run(readPool(world.a.deps, 'rbd'))).value;
    const uuidOf = (name: string): string => peers.find(({ siteName }) => siteName === name)!.mirrorUuid;
    const sets = async (): Promise<unknown> => {
      const { minimum_set, active_set, registered_clients } = await world.run(journalStatus(world.a.deps, disk));
      const clients = registered_clients.slice(1).map(({ id, state }) => [id, state]);
      return { minimum_set, active_set, clients };
    };
    const b = [uuidOf('site-b'), 'connected'];
    expect(await sets()).toEqual({
      minimum_set: 2,
      active_set: 5,
      clients: expect.arrayContaining([b, [uuidOf('site-c'), 'connected']]),
    });
    await world.run(disconnectClients(world.a.deps, disk, uuidOf('site-c')));
    expect(await sets()).toEqual({
      minimum_set: 5,
      active_set: 5,
      clients: expect.arrayContaining([b, [uuidOf('site-c'), 'disconnected']]),
    });
    world.c.isDown = false;
    await writer.flush();
    await world.minute();
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([6, 2]);
    expect(await descriptionAt(world, world.c)).toBe('disconnected');
    await world.run(resyncImage(world.c.deps, disk));
    await world.settle();
    await world.minute();
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([6, 6]);
    expect(await descriptionAt(world, world.c)).toMatch(/^replaying, /);
  });

  test('one that comes back to slots that were collected goes on from a point, and is never at what the primary never was', async () => {
    const world = await star();
    const writer = await Writer.attach(world);
    await writer.flush(2);
    world.c.isDown = true;
    await writer.flush(6);
    expect(await collectAfterDays(world, world.a)).toBeGreaterThan(0);
    await writer.flush();
    world.c.isDown = false;
    const stands: number[] = [];
    for (let minutes = 0; minutes < 4; minutes++) {
      stands.push(await writer.standOf(world.c));
      await world.minute();
    }
    expect(stands[0]).toBe(2);
    expect(stands.toSorted((x, y) => x - y)).toEqual(stands);
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([writer.newest, writer.newest]);
    await writer.flush();
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([writer.newest, writer.newest]);
    expect([...world.b.failures, ...world.c.failures]).toEqual([]);
  });

  test('a writer that is quiet since leaves such a replica behind no more than one that writes', async () => {
    const world = await star();
    const writer = await Writer.attach(world);
    world.c.isDown = true;
    await writer.flush(6);
    expect(await collectAfterDays(world, world.a)).toBeGreaterThan(0);
    world.c.isDown = false;
    for (let minutes = 0; minutes < 4; minutes++) await world.minute();
    expect(await writer.standOf(world.c)).toBe(writer.newest);
  });
});

describe('a chain', () => {
  test('every segment goes from site to site, and a planned failover takes the end along', async () => {
    const world = await chain();
    const writer = await Writer.attach(world);
    for (let count = 0; count < 4; count++) {
      await writer.flush();
      expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([writer.newest, writer.newest]);
    }
    expect((await headerOf(world.c, 'disk')).journal?.folded.epoch).toBe(writer.image.epoch);
    await world.run(demoteImage(world.a.deps, disk));
    await world.minute();
    await world.run(promoteImage(world.b.deps, disk));
    const image = await attach(world, world.b);
    await world.settle();
    await put(world, image, 512 * kib, 9);
    await world.run(image.close());
    await world.minute();
    await world.minute();
    for (const site of [world.a, world.c]) expect(await hashOf(world, site)).toBe(await hashOf(world, world.b));
  });

  test('its end goes on from a point when the slots of the middle were collected while it was away', async () => {
    const world = await chain();
    const writer = await Writer.attach(world);
    await writer.flush(2);
    world.c.isDown = true;
    await writer.flush(6);
    await world.minute();
    expect(await writer.standOf(world.b)).toBe(writer.newest);
    expect(await collectAfterDays(world, world.b)).toBeGreaterThan(0);
    world.c.isDown = false;
    for (let minutes = 0; minutes < 6; minutes++) await world.minute();
    expect(await writer.standOf(world.c)).toBe(writer.newest);
    await writer.flush();
    expect([await writer.standOf(world.b), await writer.standOf(world.c)]).toEqual([writer.newest, writer.newest]);
  });
});
