// Random histories under crashes, loss, repetition and disorder: after every step the replica is readable (I1) and equal to
// some point that its primary recorded (I2); in the end, with the faults gone, both sites agree (I4).
//
// A crash is an error in the middle of an invocation, before or after a request took effect. Nothing of the invocation goes
// on. One seed gives one history.

import { describe, expect, test } from 'vitest';

import { FarsideError } from '../../lib/errors.ts';
import { mirrorSnapshots, type Header } from '../../lib/image/header.ts';
import { createSnapshot, removeSnapshot } from '../../lib/image/snapshots.ts';
import { resizeImage } from '../../lib/image/images.ts';
import { collectStep, type CollectMessage } from '../../lib/image/collect/collect.ts';
import { isNonPrimary, readHeader } from '../../lib/image/access.ts';
import { readCatalog } from '../../lib/mirror/peers/catalog.ts';
import { createMirrorSnapshot, demoteImage, enableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { promoteImage } from '../../lib/mirror/verbs/promote.ts';
import { promotionState } from '../../lib/mirror/roles/roles.ts';
import { contentOf, makeImage, spec, World, write, type TestSite } from './two-sites.ts';
import { seededRandom } from '../image/model.ts';

const kib = 1024;
const sizeBytes = 256 * kib;

class Crash extends FarsideError {
  constructor() {
    super('EIO', 'crash');
  }
}

/** Lets requests of a site fail before or after they take effect. */
function sabotage(site: TestSite, random: () => number, share: () => number): void {
  const driver = site.driver as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const method of ['get', 'head', 'put', 'delete', 'list']) {
    const original = driver[method]!.bind(site.driver);
    driver[method] = async (...args) => {
      if (random() < share() / 2) throw new Crash();
      // Others get their turn between any two requests.
      for (let turns = Math.floor(random() * 3); turns > 0; turns--)
        await new Promise((resolve) => setImmediate(resolve));
      const outcome = await original(...args);
      if (random() < share() / 2) throw new Crash();
      return outcome;
    };
  }
}

class History {
  readonly world: World;
  readonly random: () => number;
  crashShare = 0;
  /** Roots that were recorded by a mirror snapshot as primary, by text. */
  readonly recorded = new Set<string>();
  writes = 0;

  constructor(seed: number) {
    const source = seededRandom(seed * 7919);
    this.random = () => source.fraction();
    const limits = {
      pieceBytesMax: 24 * kib,
      piecePacksMax: 2,
      walkNodesMax: 3,
      manifestsMax: 2,
      inlineBytesMax: this.random() < 0.5 ? 6 * kib : 1e9,
      wakeWaitMs: 100,
    };
    this.world = new World({
      limits,
      settings: { packBytes: 8 * kib, blockBytes: 4 * kib, collectGraceMs: 5 * 60_000 },
    });
    for (const site of [this.world.a, this.world.b]) sabotage(site, this.random, () => this.crashShare);
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)]!;
  }

  /** What a user does, and what fails of it, is no failure of the history. */
  async attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await this.world.run(work());
    } catch (error) {
      if (!(error instanceof FarsideError)) throw error;
    }
  }

  async headers(site: TestSite): Promise<Header[]> {
    const entries = Object.values(await readCatalog(site.deps, 'rbd'));
    const found = await Promise.all(entries.map(({ imageId }) => readHeader(site.deps, imageId)));
    return found.flatMap((stored) => (stored?.value.mirror ? [stored.value] : []));
  }

  async check(): Promise<void> {
    const share = this.crashShare;
    this.crashShare = 0;
    for (const site of [this.world.a, this.world.b]) {
      for (const header of await this.headers(site)) {
        for (const snapshot of mirrorSnapshots(header)) {
          if (snapshot.namespace.state.startsWith('primary')) this.recorded.add(JSON.stringify(snapshot.root?.hash));
        }
        await contentOf(site, header, header.root, header.sizeBytes);
      }
    }
    for (const site of [this.world.a, this.world.b]) {
      for (const header of await this.headers(site)) {
        if (!isNonPrimary(header) || header.mirror?.state === 'creating') continue;
        if (!this.recorded.has(JSON.stringify(header.root?.hash)))
          throw new Error('a replica that equals no point of its primary');
      }
    }
    this.crashShare = share;
  }

  /** One to three things at once. */
  async step(): Promise<void> {
    if (this.random() < 0.1) this.pick([this.world.a, this.world.b]).restart();
    if (this.random() < 0.3) this.world.clock.advance(30_000);
    const works = Array.from({ length: 1 + Math.floor(this.random() * 3) }, () => this.something());
    await Promise.all(works.map((work) => this.attempt(work)));
    await this.check();
  }

  something(): () => Promise<unknown> {
    const site = this.pick([this.world.a, this.world.b]);
    const { deps } = site;
    const image = spec('disk');
    const offset = Math.floor(this.random() * 60) * 4 * kib;
    const length = 4 * kib * (1 + Math.floor(this.random() * 4));
    const serial = (this.writes += 1);
    const grown = sizeBytes + Math.floor(this.random() * 8) * 4 * kib;
    const choices: [number, () => Promise<unknown>][] = [
      [0.4, () => this.handleSome(site)],
      [0.12, () => write(site, 'disk', serial, [{ offset, length }])],
      [0.12, () => createMirrorSnapshot(deps, image)],
      [0.04, () => createSnapshot(deps, image, `user-${serial}`)],
      [0.02, () => removeSnapshot(deps, image, `user-${serial - 3}`)],
      [0.02, () => resizeImage(deps, image, { sizeBytes: grown, allowShrink: true })],
      [0.03, () => demoteImage(deps, image)],
      [0.03, () => promoteImage(deps, image)],
      [0.01, () => promoteImage(deps, image, { force: true })],
      [0.02, () => resyncImage(deps, image)],
      [0.05, () => this.collect(site)],
      [1, () => site.tick()],
    ];
    let rest = this.random();
    return choices.find(([share]) => (rest -= share) < 0)![1];
  }

  async handleSome(site: TestSite): Promise<void> {
    for (let count = 0; count < 4; count++) await site.handleNext();
  }

  /** Some steps of a collection of every image. */
  async collect(site: TestSite): Promise<void> {
    for (const { imageId } of await this.headers(site)) {
      let message: CollectMessage | undefined = { imageId, run: site.deps.random.uuid(), step: 0 };
      for (let count = 0; count < 8 && message; count++) message = (await collectStep(site.deps, message)).next;
    }
  }

  /** Everything works again; ticks bring the two together. */
  async calm(): Promise<void> {
    this.crashShare = 0;
    for (const site of [this.world.a, this.world.b])
      site.delivery = { lost: () => false, doubledShare: 0, shuffled: false };
    for (let minutes = 0; minutes < 15; minutes++) await this.world.minute();
  }

  async stateOf(site: TestSite): Promise<string> {
    const header = (await this.headers(site))[0];
    return header ? promotionState(mirrorSnapshots(header)) : 'none';
  }
}

async function live(seed: number): Promise<void> {
  const history = new History(seed);
  const { world } = history;
  await world.pair();
  await world.run(makeImage(world.a, 'disk', sizeBytes));
  await world.run(write(world.a, 'disk', 100_000, [{ offset: 0, length: 96 * kib }]));
  await world.run(enableImage(world.a.deps, spec('disk'), 'snapshot'));
  history.crashShare = history.pick([0, 0.01, 0.04]);
  for (const site of [world.a, world.b]) {
    const lostShare = history.pick([0, 0.2, 1]);
    site.delivery = {
      lost: () => history.random() < lostShare,
      doubledShare: history.pick([0, 0.3]),
      shuffled: history.random() < 0.5,
    };
  }
  for (let count = 0; count < 60; count++) await history.step();
  await history.calm();
  await history.check();
  await makeOnePrimary(history);
  await history.calm();
  await history.check();
  const { a, b } = world;
  const [ha, hb] = [(await history.headers(a))[0]!, (await history.headers(b))[0]!];
  expect([promotionState(mirrorSnapshots(ha)), promotionState(mirrorSnapshots(hb))].toSorted()).toEqual([
    'non-primary',
    'primary',
  ]);
  expect(ha.root?.hash).toBe(hb.root?.hash);
  expect((await contentOf(a, ha, ha.root, ha.sizeBytes)).equals(await contentOf(b, hb, hb.root, hb.sizeBytes))).toBe(
    true,
  );
  expect(ha.mirror?.problem ?? hb.mirror?.problem).toBeUndefined();
}

/** As an operator would: whatever the roles are, A becomes the primary, and B follows, by resync if need be. */
async function makeOnePrimary(history: History): Promise<void> {
  const { a, b } = history.world;
  if ((await history.stateOf(a)) !== 'primary')
    await history.world.run(promoteImage(a.deps, spec('disk'), { force: true }));
  if ((await history.stateOf(b)) === 'primary') await history.world.run(demoteImage(b.deps, spec('disk')));
  await history.world.run(createMirrorSnapshot(a.deps, spec('disk')));
  await history.calm();
  const problem = (await history.headers(b))[0]?.mirror?.problem;
  if (problem) await history.world.run(resyncImage(b.deps, spec('disk')));
}

const seeds = Number(process.env['SEEDS'] ?? 12);
const first = Number(process.env['SEED'] ?? 1);

describe('chaos', () => {
  test.each(Array.from({ length: seeds }, (_, index) => first + index))(
    'seed %i keeps the invariants',
    async (seed) => {
      await live(seed);
    },
  );
});
