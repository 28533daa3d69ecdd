// The first copy of an image that is being written to: enabling, the copy in many steps, and the journal from there on, while a writer
// goes on between any two of them. At every moment the replica holds a prefix of what was written, never a shorter one than before,
// and there is no gap between the copy and the journal.

import { expect, test } from 'vitest';

import type { AttachedImage } from '../../lib/attach/attached-image.ts';
import { advanceJournal } from '../../lib/mirror/primary/advance.ts';
import { enableImage } from '../../lib/mirror/verbs/images.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { apply, dataOf, decode, prefixOf, requestOf, sectorBytes } from '../attach/pattern.ts';
import { seededRandom } from '../image/model.ts';
import { advance, attach, expectEqual, headOf, paired, sizeBytes } from './journal-world.ts';
import { headerOf, spec, type World } from './two-sites.ts';

/** So that the first copy takes many messages. */
const limits = {
  piecePacksMax: 2,
  walkNodesMax: 8,
  manifestsMax: 1,
  inlineBytesMax: 16 * 1024,
  segmentsMax: 3,
  segmentsConcurrency: 2,
};
const sectorCount = sizeBytes / sectorBytes;
/** Before mirroring is enabled, and while it goes on. */
const flushesBefore = 25;
const snapshotStep = 20;
/** States of the replica that are looked for, and how long. */
const differentMin = 6;
const stepsMax = 1000;

class Writer {
  readonly world: World;
  readonly image: AttachedImage;
  readonly #seed: string;
  readonly #random: ReturnType<typeof seededRandom>;
  seq = 0;
  flushedSeq = 0;
  #replicaSeq = 0;
  #replica = new Uint32Array(sectorCount);

  constructor(world: World, image: AttachedImage, seed: number) {
    this.world = world;
    this.image = image;
    this.#seed = `initial-${seed}`;
    this.#random = seededRandom(seed);
  }

  happens(share: number): boolean {
    return this.#random.fraction() < share;
  }

  async write(): Promise<void> {
    for (let count = 1 + Math.floor(this.#random.fraction() * 4); count > 0; count--) {
      const request = requestOf(this.#seed, ++this.seq, sectorCount);
      const offset = request.sector * sectorBytes;
      await this.world.run(
        request.type === 'write'
          ? this.image.write(offset, dataOf(request))
          : this.image.zero(offset, request.sectors * sectorBytes),
      );
    }
  }

  /** And tells its site, as writers do. */
  async flush(): Promise<void> {
    const { world, image } = this;
    await world.run(image.flush());
    this.flushedSeq = this.seq;
    const position = { epoch: image.epoch, seq: 0, record: this.happens(0.2) };
    await world.run(advanceJournal(world.a.deps, spec('disk'), position));
  }

  /** How many requests are in what the replica holds. Throws: what it holds is no prefix, shorter than before, or than `minSeq`. */
  async replicaSeq(minSeq: number): Promise<number> {
    const found = decode(await headOf(this.world, this.world.b));
    const base = this.#replica;
    const from = this.#replicaSeq;
    const range = { firstSeq: from + 1, minSeq: Math.max(from, minSeq), maxSeq: this.seq };
    this.#replicaSeq = prefixOf(found, { seed: this.#seed, base, ...range });
    this.#replica = Uint32Array.from(base);
    for (let seq = from + 1; seq <= this.#replicaSeq; seq++)
      apply(this.#replica, requestOf(this.#seed, seq, sectorCount));
    return this.#replicaSeq;
  }
}

const isThere = (world: World): Promise<boolean> =>
  headerOf(world.b, 'disk').then(
    ({ mirror }) => mirror?.state === 'enabled',
    () => false,
  );

/** Handles a message at each site, if there is one. */
async function handleSome(world: World): Promise<boolean> {
  const handled = [await world.run(world.a.handleNext()), await world.run(world.b.handleNext())];
  return handled.includes(true);
}

test.each([1, 2, 3])('an image in use is copied, then followed, without a gap (seed %i)', async (seed) => {
  const world = await paired({ limits, isEmpty: true });
  const writer = new Writer(world, await attach(world, world.a), seed);
  for (let count = 0; count < flushesBefore; count++) await writer.write().then(() => writer.flush());
  const flushedBefore = writer.flushedSeq;
  const enabled = world.run(enableImage(world.a.deps, spec('disk'), 'journal'));
  await writer.write();
  await enabled;
  const seen: number[] = [];
  let copySteps = 0;
  for (let step = 0; new Set(seen).size < differentMin && step < stepsMax; step++) {
    if (writer.happens(0.5)) await writer.write();
    if (writer.happens(0.2)) await writer.flush();
    if (step === snapshotStep) await world.run(createSnapshot(world.a.deps, spec('disk'), 's'));
    if (!(await handleSome(world))) await pass(world, 10_000);
    if (!(await isThere(world))) copySteps++;
    else if (step % 3 === 0) seen.push(await writer.replicaSeq(flushedBefore));
  }
  // The copy took its time, and the writer went on meanwhile.
  expect(copySteps).toBeGreaterThan(15);
  expect(new Set(seen).size).toBe(differentMin);
  await writer.flush();
  await advance(world, world.a);
  for (let minutes = 0; minutes < 2; minutes++) await world.minute();
  await writer.replicaSeq(writer.flushedSeq);
  await expectEqual(world);
});

/** Time passes; both sites tick. */
async function pass(world: World, elapsedMs: number): Promise<void> {
  world.clock.advance(elapsedMs);
  for (const site of [world.a, world.b]) await world.run(site.tick());
}
