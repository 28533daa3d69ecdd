// Owns a site whose images crash tests write, and its replica in this process, by the journal. The replica is looked at whenever
// something of it changes: at every point it must hold a prefix of what was written, and never a shorter one than before.

import type { Driver } from '../../lib/bucket/driver.ts';
import { keyText, parseKey } from '../../lib/bucket/keys.ts';
import type { Header } from '../../lib/image/header.ts';
import { enableImage } from '../../lib/mirror/verbs/images.ts';
import type { PointTerms } from '../../lib/mirror/primary/points.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { syncImage } from '../../lib/mirror/replica/sync.ts';
import { headerOf, makeImage, spec, World } from '../mirror/two-sites.ts';
import { BucketReader } from '../simulation/bucket-reader.ts';
import { DiskHistory, ReplicaHistory } from './crash-history.ts';
import { sectorBytes } from './pattern.ts';

const sizeBytes = 256 * 1024;
const objectBytes = 64 * 1024;
/** A reader remembers all that it has read. */
const looksPerReader = 50;
/** Syncs in a row until a replica has everything. */
const followsMax = 50;

export class CrashPair {
  readonly world: World;
  readonly disks: DiskHistory[] = [];
  readonly #replicas = new Map<string, ReplicaHistory>();
  readonly #globalIds = new Map<string, string>();
  readonly #objects = new Map<string, Buffer>();
  #reader = new BucketReader();
  #peerUuid = '';
  #failure: Error | undefined;
  terms: PointTerms = { peerUuids: [], snapshotsMax: 3 };

  /** `driver`: of the primary's bucket, when it is not memory. */
  static async make(imageCount: number, driver?: Driver): Promise<CrashPair> {
    const world = new World({ ...(driver && { drivers: { 'site-a': driver } }), limits: { replicaTailMax: 5 } });
    const pair = new CrashPair(world);
    await world.pair();
    pair.#watch();
    for (let i = 0; i < imageCount; i++) await pair.#add(`vm-${i}`);
    const pools = [await world.run(readPool(world.a.deps, 'rbd')), await world.run(readPool(world.b.deps, 'rbd'))];
    const [here, there] = pools.map(({ value }) => value.peers.map(({ uuid }) => uuid));
    pair.terms = { ...pair.terms, peerUuids: here! };
    pair.#peerUuid = there![0]!;
    return pair;
  }

  private constructor(world: World) {
    this.world = world;
  }

  async #add(image: string): Promise<void> {
    const { world } = this;
    const disk = new DiskHistory(image, sizeBytes / sectorBytes);
    this.disks.push(disk);
    this.#replicas.set(image, new ReplicaHistory(disk));
    await world.run(makeImage(world.a, image, sizeBytes, objectBytes));
    await world.run(enableImage(world.a.deps, spec(image), 'journal'));
    await world.settle();
    this.#globalIds.set(image, (await headerOf(world.a, image)).mirror!.globalId);
  }

  replica(image: string): ReplicaHistory {
    return this.#replicas.get(image)!;
  }

  get pointCount(): number {
    return [...this.#replicas.values()].reduce((sum, { pointCount }) => sum + pointCount, 0);
  }

  /** One look of every replica at its primary. Throws what was found wrong with one. */
  async follow(): Promise<void> {
    for (const { image } of this.disks) {
      await syncImage(this.world.b.deps, this.#named(image));
      this.#check();
    }
  }

  /** Until every replica has all that its primary has. */
  async settle(): Promise<void> {
    const { world } = this;
    for (const { image } of this.disks) {
      for (let follows = 0; follows < followsMax; follows++) {
        const progress = await world.run(syncImage(world.b.deps, this.#named(image)));
        if (progress === 'settled' || progress === 'following') break;
        world.clock.advance(1000);
        await world.settle();
      }
      this.#check();
      this.replica(image).expectWhole();
    }
  }

  #named(image: string): { pool: string; peerUuid: string; globalId: string } {
    return { pool: 'rbd', peerUuid: this.#peerUuid, globalId: this.#globalIds.get(image)! };
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
  }

  #watch(): void {
    const { driver } = this.world.b;
    const [put, remove] = [driver.put.bind(driver), driver.delete.bind(driver)];
    driver.put = async (key, body, condition) => {
      const outcome = await put(key, body, condition);
      if (outcome.status === 'stored') this.#stored(key, Buffer.from(body));
      return outcome;
    };
    driver.delete = async (keys) => {
      await remove(keys);
      for (const key of keys) this.#objects.delete(key);
    };
  }

  #stored(key: string, body: Buffer): void {
    this.#objects.set(key, body);
    const parsed = parseKey(key);
    if (parsed?.kind !== 'header' && parsed?.kind !== 'slot') return;
    try {
      this.#look(parsed.imageId);
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }

  #look(imageId: string): void {
    const stored = this.#objects.get(keyText({ kind: 'header', imageId }));
    const header: Header | undefined = stored && JSON.parse(stored.toString()).value;
    if (!header?.mirror || header.mirror.state === 'creating') return;
    const replica = this.replica(header.name);
    if (replica.pointCount % looksPerReader === 0) this.#reader = new BucketReader();
    replica.look(this.#reader.head(this.#objects, header).bytes);
  }
}
