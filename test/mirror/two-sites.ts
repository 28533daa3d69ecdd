// Two sites or three in one process on memory buckets, each other's peers by direct calls. Time is virtual; messages wait in a
// queue that the test may lose, repeat and shuffle. Everything comes from seeds.

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { RequestCounts } from '../../lib/bucket/bucket.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import type { Clock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { commitRoot } from '../../lib/image/commit.ts';
import { settingsDefault, type ImageSpec, type Settings } from '../../lib/image/deps.ts';
import { reachableRoots } from '../../lib/image/header.ts';
import type { Header, Root } from '../../lib/image/header.ts';
import { createImage } from '../../lib/image/images.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { removeStep } from '../../lib/image/remove.ts';
import { ImageWriter } from '../../lib/image/map/write.ts';
import { handleApply } from '../../lib/mirror/replica/apply.ts';
import { mirrorBorn } from '../../lib/mirror/verbs/by-feature.ts';
import { handleByFeature } from '../../lib/mirror/verbs/by-feature-walk.ts';
import { handleComplete } from '../../lib/mirror/replica/complete.ts';
import { handleDelta } from '../../lib/mirror/primary/delta.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import { limitsDefault, type Limits } from '../../lib/mirror/limits.ts';
import { PeerEndpoint } from '../../lib/mirror/primary/endpoint.ts';
import type { Message, Outcome, Queue } from '../../lib/mirror/messages.ts';
import {
  authenticatePeer,
  createBootstrapToken,
  importBootstrapToken,
  registerPeer,
} from '../../lib/mirror/peers/peer.ts';
import type { Peer } from '../../lib/mirror/peer-protocol.ts';
import { journalPoints } from '../../lib/mirror/primary/points.ts';
import { handlePoll } from '../../lib/mirror/replica/poll.ts';
import { handleFlatten } from '../../lib/mirror/replica/replica-parent.ts';
import { createPool, readPool, receives, type PoolRegistry } from '../../lib/mirror/pool.ts';
import { enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { handleSnapshot } from '../../lib/mirror/primary/snapshot.ts';
import { handleSync } from '../../lib/mirror/replica/sync.ts';
import { seededRandom } from '../image/model.ts';

/** Sleepers are woken in order of time whenever everything waits. */
export class WorldClock implements Clock {
  #nowMs = 1_795_000_000_000;
  #sleepers: { atMs: number; wake: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(durationMs: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ atMs: this.#nowMs + durationMs, wake }));
  }

  advance(durationMs: number): void {
    this.#nowMs += durationMs;
  }

  advanceTo(atMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  /** Runs `work`, letting time pass when it only waits. */
  async run<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const end = work.finally(() => (settled = true));
    end.catch(() => undefined);
    for (let idleCount = 0; !settled;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (settled) break;
      idleCount += 1;
      if (idleCount > 2 && this.#wakeNext()) idleCount = 0;
    }
    return end;
  }

  #wakeNext(): boolean {
    const next = this.#sleepers.toSorted((a, b) => a.atMs - b.atMs)[0];
    if (!next) return false;
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
    this.advanceTo(next.atMs);
    next.wake();
    return true;
  }
}

/** `lost`: dropped. `doubled`: delivered twice. Both as shares of one. */
export type Delivery = { lost: (message: Message) => boolean; doubledShare: number; shuffled: boolean };
const orderly: Delivery = { lost: () => false, doubledShare: 0, shuffled: false };

type Waiting = { message: Message; atMs: number; attempts: number };

export class TestSite implements PoolRegistry {
  readonly driver: MemoryDriver;
  readonly deps: MirrorDeps;
  readonly waiting: Waiting[] = [];
  readonly handled: Message[] = [];
  readonly failures: unknown[] = [];
  delivery: Delivery = orderly;
  /** Peers cannot reach this site. */
  isDown = false;
  readonly #pools = new Set<string>();
  readonly #store: Driver;

  constructor(name: string, world: World, seed: number, { limits, settings, drivers }: WorldOptions) {
    const { clock } = world;
    const random = seededRandom(seed);
    this.driver = new MemoryDriver(clock);
    this.#store = drivers?.[name] ?? this.driver;
    const queue: Queue = {
      send: async (messages, options) => {
        for (const message of messages) this.#enqueue(message, options?.delayMs ?? 0);
      },
    };
    const site = {
      siteId: `${name}-fsid`,
      name,
      url: `https://${name}.test`,
      seal: async (text: string) => `sealed:${text}`,
      unseal: async (sealed: string) => sealed.slice('sealed:'.length),
    };
    const parts: MirrorDeps = {
      bucket: new Bucket(this.#store, { clock, random }),
      clock,
      random,
      queue,
      site,
      peers: async (pool, record) => world.connect(pool, record.url, await site.unseal(record.sealedKey)),
      limits: { ...limitsDefault, ...limits },
      settings: { ...settingsDefault, packBytes: 64 * 1024, ...settings },
    };
    this.deps = parts;
    parts.points = journalPoints(parts);
    parts.born = mirrorBorn(parts);
  }

  async names(): Promise<string[]> {
    return [...this.#pools];
  }
  async add(pool: string): Promise<void> {
    this.#pools.add(pool);
  }
  async remove(pool: string): Promise<void> {
    this.#pools.delete(pool);
  }

  /** As a process that starts anew: nothing remembered, no message left. */
  restart(): void {
    (this.deps as { bucket: Bucket }).bucket = new Bucket(this.#store, this.deps);
    this.waiting.length = 0;
  }

  #enqueue(message: Message, delayMs: number, attempts = 0): void {
    if (this.delivery.lost(message)) return;
    const copies = this.deps.random.fraction() < this.delivery.doubledShare ? 2 : 1;
    for (let copy = 0; copy < copies; copy++)
      this.waiting.push({ message: structuredClone(message), atMs: this.deps.clock.nowMs() + delayMs, attempts });
  }

  /** Handles one due message; false when there is none. */
  async handleNext(): Promise<boolean> {
    const nowMs = this.deps.clock.nowMs();
    const due = this.waiting.filter((entry) => entry.atMs <= nowMs);
    const entry = this.delivery.shuffled ? due[Math.floor(this.deps.random.fraction() * due.length)] : due[0];
    if (!entry) return false;
    this.waiting.splice(this.waiting.indexOf(entry), 1);
    this.handled.push(entry.message);
    const outcome = await this.#handle(entry.message);
    if (outcome.kind === 'retry' && entry.attempts < 10)
      this.#enqueue(entry.message, outcome.delayMs, entry.attempts + 1);
    return true;
  }

  async #handle(message: Message): Promise<Outcome> {
    try {
      return await handle(this.deps, message);
    } catch (error) {
      this.failures.push(error);
      if (!(error instanceof FarsideError)) throw error;
      return error.retry === 'never' ? { kind: 'ack' } : { kind: 'retry', delayMs: 2000 };
    }
  }

  /** What a tick does: polls every peer that the pool receives from. */
  async tick(pool = 'rbd'): Promise<void> {
    if (!this.#pools.has(pool)) return;
    const { value } = await readPool(this.deps, pool);
    for (const peer of value.peers.filter(receives)) await handlePoll(this.deps, { pool, peerUuid: peer.uuid });
  }

  /** As a site that has ticked before. */
  async beat(): Promise<void> {
    const { bucket, random, clock } = this.deps;
    await createDocument(bucket, keyText({ kind: 'heartbeat' }), { tickedAtMs: clock.nowMs() }, random);
  }
}

function handle(deps: MirrorDeps, message: Message): Promise<Outcome> {
  switch (message.type) {
    case 'snapshot':
      return handleSnapshot(deps, message);
    case 'delta':
      return handleDelta(deps, message);
    case 'sync':
      return handleSync(deps, message);
    case 'apply':
      return handleApply(deps, message);
    case 'complete':
      return handleComplete(deps, message);
    case 'poll':
      return handlePoll(deps, message);
    case 'flatten':
      return handleFlatten(deps, message);
    case 'by-feature':
      return handleByFeature(deps, message);
    case 'remove':
      return removeStep(deps, message.imageId).then(() => ({ kind: 'ack' }));
    case 'collect':
    case 'purge':
      return Promise.resolve({ kind: 'ack' });
  }
}

/** `drivers`: of sites by name, instead of memory. */
export type WorldOptions = {
  limits?: Partial<Limits>;
  settings?: Partial<Settings>;
  drivers?: Readonly<Record<string, Driver>>;
};

export class World {
  readonly clock = new WorldClock();
  readonly a: TestSite;
  readonly b: TestSite;
  /** For chains, and for one that feeds two; without peers it costs nothing. */
  readonly c: TestSite;
  /** Bytes of packs that crossed the wire, and calls. */
  wire = { packBytes: 0, segmentBytes: 0, calls: 0 };

  constructor(options: WorldOptions = {}) {
    this.a = new TestSite('site-a', this, 1, options);
    this.b = new TestSite('site-b', this, 2, options);
    this.c = new TestSite('site-c', this, 3, options);
  }

  /** As HTTP would: authenticated anew by each call, and everything copied as JSON. */
  async connect(pool: string, url: string, key: string): Promise<Peer> {
    const site = this.sites.find(({ deps }) => deps.site.url === url)!;
    const call = async (method: string, args: unknown[]): Promise<unknown> => {
      if (site.isDown) throw new FarsideError('ECONNREFUSED', `${url} is down`, { retry: 'later' });
      this.wire.calls += 1;
      const caller = await authenticatePeer(site.deps, pool, key);
      if (!caller) throw new FarsideError('EACCES', 'unknown key');
      if (caller.kind === 'bootstrap') return copied(await registerPeer(site.deps, pool, copied(args)[0] as never));
      const endpoint = new PeerEndpoint(site.deps, pool, caller.peer);
      if (method !== 'pack' && method !== 'packEntries' && method !== 'segment')
        return copied(
          await (endpoint as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[method]!(
            ...copied(args),
          ),
        );
      const answer = await endpoint[method](args[0] as string, args[1] as string, args[2] as never);
      if (answer.status === 'found')
        this.wire[method === 'segment' ? 'segmentBytes' : 'packBytes'] += answer.body.length;
      return answer;
    };
    return new Proxy(
      {},
      { get: (_, method) => (method === 'then' ? undefined : (...args: unknown[]) => call(String(method), args)) },
    ) as Peer;
  }

  get sites(): TestSite[] {
    return [this.a, this.b, this.c];
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.run(work);
  }

  /** Handles messages until none is left, letting time pass for those that wait; at most `handledMax`. */
  async settle(handledMax = 100_000): Promise<void> {
    for (let count = 0; count < handledMax; count++) {
      const [first, second] = this.a.deps.random.fraction() < 0.5 ? [this.a, this.b] : [this.b, this.a];
      if ((await this.run(first.handleNext())) || (await this.run(second.handleNext()))) continue;
      if (await this.run(this.c.handleNext())) continue;
      const nextMs = Math.min(...this.sites.flatMap(({ waiting }) => waiting.map(({ atMs }) => atMs)));
      if (nextMs === Infinity) return;
      this.clock.advanceTo(nextMs);
    }
    throw new Error('messages without end');
  }

  /** A minute passes; both sites tick; what that sent is handled. */
  async minute(): Promise<void> {
    this.clock.advance(60_000);
    for (const site of this.sites) if (!site.isDown) await this.run(site.tick());
    await this.settle();
  }

  /** `to` receives from `from`; a pool that is missing is made and mirrored. */
  async join(from: TestSite, to: TestSite, options: { direction?: string; additional?: boolean } = {}): Promise<void> {
    for (const site of [from, to]) {
      if ((await site.names()).includes('rbd')) continue;
      await this.run(createPool(site.deps, site, 'rbd'));
      await this.run(enablePool(site.deps, 'rbd', 'image'));
      await this.run(site.beat());
    }
    const token = await this.run(createBootstrapToken(from.deps, 'rbd'));
    await this.run(importBootstrapToken(to.deps, 'rbd', token, { direction: 'rx-only', ...options }));
    await this.settle();
  }

  /** Both sites have pool `rbd`, mirrored, and are peers. */
  async pair(direction = 'rx-tx'): Promise<void> {
    for (const site of [this.a, this.b]) await this.run(createPool(site.deps, site, 'rbd'));
    await this.run(enablePool(this.a.deps, 'rbd', 'image'));
    const token = await this.run(createBootstrapToken(this.a.deps, 'rbd'));
    await this.run(importBootstrapToken(this.b.deps, 'rbd', token, { direction }));
    for (const site of [this.a, this.b]) await this.run(site.beat());
    await this.settle();
  }
}

const copied = <T>(value: T): T => (value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T));

export const spec = (image: string, namespace = ''): ImageSpec => ({ pool: 'rbd', namespace, image });

export async function makeImage(
  site: TestSite,
  name: string,
  sizeBytes: number,
  objectBytes = 64 * 1024,
): Promise<void> {
  await createImage(site.deps, spec(name), { sizeBytes, objectBytes });
}

/** Writes content drawn from a seed, as one commit. */
export async function write(
  site: TestSite,
  name: string,
  seed: number,
  extents: readonly { offset: number; length: number }[],
  namespace = '',
): Promise<void> {
  const base = await openHeader(site.deps, spec(name, namespace));
  const { root, sizeBytes } = base.value;
  const writer = new ImageWriter(site.deps, { image: base.value, root }, { compression: 'none', resume: false });
  const random = seededRandom(seed);
  for (const { offset, length } of extents) await writer.write(offset, random.bytes(length));
  const made = await writer.finish();
  await commitRoot(site.deps, base, { root: made, sizeBytes, written: writer.written });
}

export const headerOf = async (site: TestSite, name: string, namespace = ''): Promise<Header> =>
  (await openHeader(site.deps, spec(name, namespace))).value;

/** Everything that a root holds, read and verified. */
export async function contentOf(site: TestSite, header: Header, root: Root | null, sizeBytes: number): Promise<Buffer> {
  const store = openStore(site.deps, header);
  return Buffer.from(await readRange(store, root, header.objectBytes, { offset: 0, length: sizeBytes }));
}

export async function headContent(site: TestSite, name: string, namespace = ''): Promise<Buffer> {
  const header = await headerOf(site, name, namespace);
  return contentOf(site, header, header.root, header.sizeBytes);
}

/** I1: every root that the header reaches can be read. */
export async function checkReadable(site: TestSite, name: string): Promise<void> {
  const header = await headerOf(site, name);
  for (const root of reachableRoots(header)) await contentOf(site, header, root, header.sizeBytes);
}

export function requests(before: RequestCounts, after: RequestCounts): { A: number; B: number; all: number } {
  const [A, B] = [after.A - before.A, after.B - before.B];
  return { A, B, all: A + B };
}
