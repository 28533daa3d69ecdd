// Owns the ways in which writers are killed, round after round: processes by SIGKILL, and in this process at the border of their
// bucket. After each, what is there is exactly what a prefix of the requests made, with everything that was told to be durable.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { systemClock } from '../../lib/clock.ts';
import type { ImageDeps } from '../../lib/image/deps.ts';
import { createImage } from '../../lib/image/images.ts';
import { journalPoints } from '../../lib/mirror/primary/points.ts';
import { systemRandom } from '../../lib/random.ts';
import { seededRandom, spec } from '../image/model.ts';
import { DiskHistory } from './crash-history.ts';
import { attachForCrashes, crashDeps, writeOn } from './crash-image.ts';
import { CrashPair } from './crash-pair.ts';
import { bundleWriter, CrashWriters } from './crash-process.ts';
import { DyingDriver } from './dying-driver.ts';
import { sectorBytes } from './pattern.ts';

/** `crashCount`: images whose writer was killed; `pointCount`: moments at which a replica was looked at. */
export type CrashCounts = { killCount: number; crashCount: number; flushedCount: number; pointCount: number };

export interface CrashRun {
  /** One more kill, and all that can be found wrong after it. */
  round(): Promise<void>;
  readonly counts: CrashCounts;
  end(): Promise<void>;
}

const sizeBytes = 1024 * 1024;
const objectBytes = 128 * 1024;
const killAfterMsMax = 80;

type Place = { directory: string; walDirectory: string | undefined; deps: ImageDeps };

/** Processes that write into a bucket in a directory. */
export class KilledProcesses implements CrashRun {
  readonly counts: CrashCounts = { killCount: 0, crashCount: 0, flushedCount: 0, pointCount: 0 };
  readonly #place: Place;
  readonly #disks: readonly DiskHistory[];
  readonly #writers: CrashWriters;
  readonly #pair: CrashPair | undefined;
  readonly #scratch: string;

  /** `hasLog`: flushes are durable in a log on the disk. `isMirrored`: a replica follows the journals. */
  static async open({
    imageCount,
    hasLog = false,
    isMirrored = false,
  }: {
    imageCount: number;
    hasLog?: boolean;
    isMirrored?: boolean;
  }): Promise<KilledProcesses> {
    const scratch = mkdtempSync(join(tmpdir(), 'farside-crash-'));
    const directory = join(scratch, 'bucket');
    const walDirectory = hasLog ? mkdtempSync(join(scratch, 'log-')) : undefined;
    const parts = { clock: systemClock, random: systemRandom };
    const pair = isMirrored ? await CrashPair.make(imageCount, new FileDriver(directory, parts)) : undefined;
    const deps = crashDeps(directory, pair?.terms);
    const disks = pair?.disks ?? (await makeDisks(deps, imageCount));
    const writers = new CrashWriters(await bundleWriter(scratch));
    return new KilledProcesses({ directory, walDirectory, deps }, disks, { writers, pair, scratch });
  }

  private constructor(
    place: Place,
    disks: readonly DiskHistory[],
    { writers, pair, scratch }: { writers: CrashWriters; pair: CrashPair | undefined; scratch: string },
  ) {
    this.#place = place;
    this.#disks = disks;
    this.#writers = writers;
    this.#pair = pair;
    this.#scratch = scratch;
  }

  async round(): Promise<void> {
    const { directory, walDirectory } = this.#place;
    const images = this.#disks.map((disk) => disk.begin());
    const task = { directory, walDirectory, images, terms: this.#pair?.terms };
    // A replica that looks in only some of the rounds has more to catch up with in the others.
    const follows = this.#pair !== undefined && systemRandom.fraction() < 0.8;
    const afterMs = systemRandom.fraction() * killAfterMsMax;
    const flushed = await this.#writers.killed(task, afterMs, follows ? (isDead) => this.#follow(isDead) : undefined);
    await Promise.all(this.#disks.map((disk) => this.#check(disk, flushed.get(disk.image) ?? disk.seq)));
    if (follows) await this.#pair?.settle();
    this.counts.killCount += 1;
    this.counts.crashCount += images.length;
    this.counts.flushedCount += flushed.size;
    this.counts.pointCount = this.#pair?.pointCount ?? 0;
  }

  async #follow(isDead: () => boolean): Promise<void> {
    const { world } = this.#pair!;
    while (!isDead()) {
      world.clock.advanceTo(systemClock.nowMs());
      await world.run(this.#pair!.follow());
      await systemClock.sleep(5);
    }
  }

  /** Attaches it again, and goes on from what is there. */
  async #check(disk: DiskHistory, flushedSeq: number): Promise<void> {
    const { deps, walDirectory } = this.#place;
    const attached = await attachForCrashes(deps, disk.image, walDirectory);
    const seenSeq = this.#pair?.replica(disk.image).seq ?? 0;
    disk.end(await attached.read(0, attached.sizeBytes), Math.max(flushedSeq, seenSeq));
    if (!this.#pair) disk.forget(disk.seq);
    if (systemRandom.fraction() < 0.5) await attached.close();
    else attached.abandon();
  }

  async end(): Promise<void> {
    this.#writers.end();
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}

async function makeDisks(deps: ImageDeps, imageCount: number): Promise<DiskHistory[]> {
  await createDocument(deps.bucket, keyText({ kind: 'pool', pool: 'rbd' }), {}, deps.random);
  const disks = Array.from({ length: imageCount }, (_, i) => new DiskHistory(`vm-${i}`, sizeBytes / sectorBytes));
  for (const { image } of disks) await createImage(deps, spec(image), { sizeBytes, objectBytes });
  return disks;
}

const putsMax = 25;

/** Writers in this process, with a replica that follows: everything on virtual time, drawn from a seed. */
export class KilledWriters implements CrashRun {
  readonly counts: CrashCounts = { killCount: 0, crashCount: 0, flushedCount: 0, pointCount: 0 };
  readonly #pair: CrashPair;
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #seed: number;

  static async open(seed: number): Promise<KilledWriters> {
    return new KilledWriters(await CrashPair.make(1), seed);
  }

  private constructor(pair: CrashPair, seed: number) {
    this.#pair = pair;
    this.#seed = seed;
    // Not those of the sites, which draw ids of their own.
    this.#random = seededRandom(seed ^ 0x5eed);
  }

  async round(): Promise<void> {
    try {
      await this.#round(this.#pair.disks[0]!);
    } catch (cause) {
      throw new Error(`seed ${this.#seed}, kill ${this.counts.killCount + 1}`, { cause });
    }
  }

  async #round(disk: DiskHistory): Promise<void> {
    const { world } = this.#pair;
    const task = disk.begin();
    let flushedSeq = disk.seq;
    const parts = { clock: world.clock, random: this.#random };
    const driver = new DyingDriver(world.a.driver, 1 + Math.floor(this.#random.fraction() * putsMax), parts);
    const deps = { ...world.a.deps, ...parts, bucket: new Bucket(driver, parts) };
    deps.points = journalPoints(deps);
    const writing = attachForCrashes(deps, disk.image).then((attached) =>
      writeOn({ deps, attached }, task, (seq) => (flushedSeq = driver.isDead ? flushedSeq : seq)),
    );
    writing.catch(() => {}); // raced
    const follows = this.#random.fraction() < 0.8;
    await world.run(Promise.all([Promise.race([writing, driver.death]), follows ? this.#follow(driver) : undefined]));
    await this.#check(disk, flushedSeq);
    if (follows) await this.#pair.settle();
    this.counts.killCount += 1;
    this.counts.crashCount += 1;
    this.counts.flushedCount += flushedSeq >= task.firstSeq ? 1 : 0;
    this.counts.pointCount = this.#pair.pointCount;
  }

  async #follow(driver: DyingDriver): Promise<void> {
    const { world } = this.#pair;
    while (!driver.isDead) {
      await this.#pair.follow();
      await world.b.handleNext();
      await world.clock.sleep(this.#random.fraction() * 100);
    }
  }

  async #check(disk: DiskHistory, flushedSeq: number): Promise<void> {
    const { world } = this.#pair;
    const attached = await world.run(attachForCrashes(world.a.deps, disk.image));
    const seenSeq = this.#pair.replica(disk.image).seq;
    disk.end(await world.run(attached.read(0, attached.sizeBytes)), Math.max(flushedSeq, seenSeq));
    if (this.#random.fraction() < 0.5) await world.run(attached.close());
    else attached.abandon();
  }

  async end(): Promise<void> {}
}
