// Owns a site in a simulation: a bucket that lasts, and incarnations that come and go. An incarnation is what a process or an
// isolate is: its own Bucket (so its own memory of recent answers), its own handlers under way. Also the network between
// sites: peer requests that are lost before or after their effect, partitions, and peers that die while they answer.

import { Bucket } from '../../lib/bucket/bucket.ts';
import { FarsideError } from '../../lib/errors.ts';
import { collectStep, type CollectLimits } from '../../lib/image/collect/collect.ts';
import type { ImageSpec, JournalPoints, Settings } from '../../lib/image/deps.ts';
import type { Header } from '../../lib/image/header.ts';
import { advanceJournal } from '../../lib/mirror/primary/advance.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import { hasJournaling, mirrorBorn, mirrorByFeature } from '../../lib/mirror/verbs/by-feature.ts';
import type { Limits } from '../../lib/mirror/limits.ts';
import { PeerEndpoint } from '../../lib/mirror/primary/endpoint.ts';
import type { Message, Outcome } from '../../lib/mirror/messages.ts';
import { authenticatePeer, registerPeer } from '../../lib/mirror/peers/peer.ts';
import type { Peer, PeerConnector, RegisterRequest } from '../../lib/mirror/peer-protocol.ts';
import { journalPoints, pointTaker, pointTerms } from '../../lib/mirror/primary/points.ts';
import { statusOf } from '../../lib/site/api/errors.ts';
import { dispatch } from '../../lib/site/dispatch.ts';
import { createOrReadSite } from '../../lib/site/site-document.ts';
import { tick } from '../../lib/site/tick.ts';
import { Dice } from './dice.ts';
import { FaultDriver } from './fault-driver.ts';
import { Process, type Scheduler } from './scheduler.ts';
import { SimulatedQueue } from './simulated-queue.ts';
import type { Weather } from './weather.ts';

export type Handle = (deps: MirrorDeps, message: unknown, attempts: number) => Promise<Outcome>;

/** Where planted bugs go in; each seam gets what is real and answers what is used. */
export type Seams = {
  handle?: (handle: Handle) => Handle;
  peer?: (peer: Peer, from: SimulatedSite, to: SimulatedSite) => Peer;
  tick?: (site: SimulatedSite) => Promise<void>;
};

export type SiteOptions = {
  name: string;
  scheduler: Scheduler;
  seed: number;
  weather: Weather;
  sites: SimulatedSite[];
  settings: Settings;
  limits: Limits;
  collectLimits: CollectLimits;
  isQueueDurable: boolean;
  seams: Seams;
};

export class SimulatedSite {
  readonly name: string;
  readonly url: string;
  readonly driver: FaultDriver;
  readonly queue: SimulatedQueue;
  readonly #options: SiteOptions;
  readonly #dice: Dice;
  #siteId = '';
  #incarnation = 0;
  #process: Process | undefined;
  #deps: MirrorDeps | undefined;

  constructor(options: SiteOptions) {
    this.#options = options;
    this.name = options.name;
    this.url = `https://${options.name}.test`;
    this.#dice = new Dice(options.seed, `network of ${options.name}`);
    const { scheduler, weather } = options;
    this.driver = new FaultDriver(
      options.name,
      scheduler,
      new Dice(options.seed, `bucket of ${options.name}`),
      weather,
    );
    const handle = options.seams.handle?.(this.#handle) ?? this.#handle;
    this.queue = new SimulatedQueue(options.name, {
      scheduler,
      weather,
      dice: new Dice(options.seed, `queue of ${options.name}`),
      isDurable: options.isQueueDurable,
      consumer: {
        current: () => this.#process,
        handle: (message, attempts) => handle(this.deps, message, attempts),
      },
    });
    this.start();
  }

  get process(): Process | undefined {
    return this.#process;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  /** Of the running incarnation. */
  get deps(): MirrorDeps {
    if (!this.#deps) throw new FarsideError('ECONNREFUSED', `${this.name} is down`, { retry: 'later' });
    return this.#deps;
  }

  start(): void {
    this.#incarnation += 1;
    this.#process = new Process(`${this.name}#${this.#incarnation}`);
    this.#deps = this.freshDeps(this.#process.name);
    this.#options.scheduler.trace(`${this.name} starts`);
  }

  /** Everything under way dies; the bucket stays. */
  kill(): void {
    const process = this.#process;
    if (!process) return;
    this.#options.scheduler.trace(`${this.name} is killed`);
    this.#process = undefined;
    this.#deps = undefined;
    process.kill();
  }

  /** Whoever runs this dies: nothing that it waits for ever happens. */
  killCaller(): Promise<never> {
    this.#options.scheduler.origin.process.kill();
    return new Promise(() => {});
  }

  /** As another process has them: a client on the same bucket, or a new incarnation. */
  freshDeps(who: string): MirrorDeps {
    const parts = this.#partsOf(who);
    const isClient = who !== this.#process?.name;
    const deps = { ...parts, points: isClient ? this.#clientPoints(parts) : journalPoints(parts) };
    return { ...deps, born: isClient ? this.#tellOfBirth : mirrorBorn(deps) };
  }

  /** As lib/cli/client/journal.ts does it. */
  readonly #tellOfBirth = async (header: Header): Promise<void> => {
    if (!hasJournaling(header)) return;
    await this.api('by feature', (deps) => mirrorByFeature(deps, imageOf(header))).catch(() => undefined);
  };

  /** As lib/cli/client/journal.ts does it. */
  #clientPoints(parts: MirrorDeps): JournalPoints {
    return {
      withPoint: pointTaker(parts, (header) => this.api('journal terms', (deps) => pointTerms(deps, header))),
      announce: async (header) => {
        const { epoch, seq } = header.journal?.folded ?? { epoch: '0'.repeat(16), seq: 0 };
        await this.advance(imageOf(header), { epoch, seq, record: true }).catch(() => undefined);
      },
    };
  }

  /** A writer tells that its journal went on. */
  advance(spec: ImageSpec, position: { epoch: string; seq: number; record: boolean }): Promise<void> {
    return this.api('journal advance', (deps) => advanceJournal(deps, spec, position));
  }

  /** A client asks this site for something. */
  api<T>(what: string, work: (deps: MirrorDeps) => Promise<T>): Promise<T> {
    return this.#send(this, what, work);
  }

  #partsOf(who: string): MirrorDeps {
    const { scheduler, seed, settings, limits } = this.#options;
    const random = new Dice(seed, `random of ${who}`).asRandom();
    const bucket = new Bucket(this.driver, { clock: scheduler.clock, random });
    const site = {
      siteId: this.#siteId,
      name: this.name,
      url: this.url,
      seal: async (text: string) => text,
      unseal: async (text: string) => text,
    };
    return {
      bucket,
      clock: scheduler.clock,
      random,
      settings,
      limits,
      queue: this.queue,
      site,
      peers: this.#connect,
    };
  }

  /** Makes site.json. */
  async found(): Promise<void> {
    this.#siteId = (await createOrReadSite(this.deps, this.name)).siteId;
    this.#deps = this.freshDeps(this.#process!.name);
  }

  async tick(): Promise<void> {
    const { scheduler } = this.#options;
    const log = (line: string): void => {
      scheduler.trace(`${this.name} log: ${line}`);
      if (/farside bug|not a function|of undefined|of null/.test(line)) scheduler.fail(new Error(line));
    };
    await tick(this.deps, { nowMs: scheduler.nowMs, log });
  }

  readonly #handle: Handle = async (deps, message, attempts) => {
    const typed = message as Message;
    if (typed.type !== 'collect') return await dispatch(deps, message, attempts);
    try {
      const { next } = await collectStep(deps, typed, this.#options.collectLimits);
      if (next) await deps.queue.send([{ type: 'collect', ...next }]);
      return { kind: 'ack' };
    } catch (error) {
      if (!(error instanceof FarsideError)) throw error;
      this.#options.scheduler.trace(`${this.name} collection fails: ${error.code} ${error.message}`);
      return error.retry === 'never' ? { kind: 'ack' } : { kind: 'retry', delayMs: 5000 };
    }
  };

  readonly #connect: PeerConnector = async (pool, { url, sealedKey }) => {
    const to = this.#options.sites.find((site) => site.url === url);
    if (!to) throw new FarsideError('EINVAL', `no site at ${url}`);
    const peer = new NetworkPeer(this, to, pool, sealedKey, this.#send);
    return this.#options.seams.peer?.(peer, this, to) ?? peer;
  };

  /** One request to another site. */
  readonly #send = async <T>(to: SimulatedSite, what: string, work: (deps: MirrorDeps) => Promise<T>): Promise<T> => {
    const { scheduler, weather } = this.#options;
    const dice = this.#dice;
    await scheduler.pause(weather.latencyMs(dice));
    const caller = scheduler.origin;
    const isCutOff = weather.isParted(this.name, to.name);
    const fails = dice.chance(weather.peerFaults);
    const failsBefore = fails && dice.chance(0.5);
    scheduler.trace(
      `${this.name} asks ${to.name}: ${what}${isCutOff ? ' (cut off)' : fails ? ` (lost ${failsBefore ? 'before' : 'after'})` : ''} (${caller.label})`,
    );
    const process = to.process;
    if (isCutOff || failsBefore || !process) {
      await scheduler.pause(dice.skewed(1, 30_000));
      throw new FarsideError(dice.chance(0.5) ? 'ECONNREFUSED' : 'ETIMEDOUT', `${to.name} cannot be reached`, {
        retry: 'later',
      });
    }
    return await new Promise<T>((resolve, reject) => {
      const answer = (run: () => void): void => {
        process.onDeath.delete(cutShort);
        scheduler.after(weather.latencyMs(dice), caller.process, run);
      };
      const noAnswer = (): void =>
        reject(new FarsideError('ETIMEDOUT', `${to.name} does not answer in time`, { retry: 'later' }));
      const cutShort = (): void => answer(noAnswer);
      process.onDeath.add(cutShort);
      scheduler.as({ process, label: `${what} for ${caller.label}` }, () => {
        work(to.deps).then(
          (result) => answer(fails ? noAnswer : () => resolve(result)),
          (error: unknown) => {
            if (error instanceof FarsideError) answer(fails ? noAnswer : () => reject(asTold(error, to.name)));
            else scheduler.fail(error);
          },
        );
      });
    });
  };
}

const imageOf = ({ pool, namespace, name }: Header): ImageSpec => ({
  pool,
  namespace,
  image: name,
});

/** As lib/site/peer-http.ts tells failures. */
function asTold(error: FarsideError, name: string): FarsideError {
  const status = statusOf[error.code];
  const isPassing = (status === 429 || status >= 500) && error.code !== 'ENOSYS' && error.code !== 'EOPNOTSUPP';
  return new FarsideError(error.code === 'EPERM' ? 'EACCES' : error.code, `peer ${name}: ${error.message}`, {
    retry: isPassing ? 'later' : 'never',
  });
}

type Send = <T>(to: SimulatedSite, what: string, work: (deps: MirrorDeps) => Promise<T>) => Promise<T>;

/** The other site, as the routes of lib/site/api/routes-peer.ts offer it. */
class NetworkPeer implements Peer {
  readonly #to: SimulatedSite;
  readonly #pool: string;
  readonly #key: string;
  readonly #send: Send;

  constructor(_from: SimulatedSite, to: SimulatedSite, pool: string, key: string, send: Send) {
    this.#to = to;
    this.#pool = pool;
    this.#key = key;
    this.#send = send;
  }

  image: Peer['image'] = (globalId) => this.#ask(`image ${globalId.slice(0, 8)}`, (peer) => peer.image(globalId));
  catalog: Peer['catalog'] = () => this.#ask('catalog', (peer) => peer.catalog());
  feed: Peer['feed'] = (from) => this.#ask(`feed ${from}`, (peer) => peer.feed(from));
  delta: Peer['delta'] = (globalId, request) =>
    this.#ask(`delta ${globalId.slice(0, 8)} to ${request.targetSnapId} step ${request.step}`, (peer) =>
      peer.delta(globalId, request),
    );
  pack: Peer['pack'] = (imageId, packId, options) =>
    this.#askWhole(`pack ${packId.slice(0, 8)}`, (peer) => peer.pack(imageId, packId, options));
  segment: Peer['segment'] = (imageId, epoch, seq) =>
    this.#askWhole(`segment ${epoch.slice(0, 8)}/${seq}`, (peer) => peer.segment(imageId, epoch, seq));
  requestPoint: Peer['requestPoint'] = (globalId) =>
    this.#ask(`point ${globalId.slice(0, 8)}`, (peer) => peer.requestPoint(globalId));
  ack: Peer['ack'] = (globalId, ack) =>
    this.#ask(`ack ${globalId.slice(0, 8)} ${ack.synced?.snapId ?? ''}`, (peer) => peer.ack(globalId, ack));
  wake: Peer['wake'] = (globalIds) => this.#ask('wake', (peer) => peer.wake(globalIds));
  heartbeat: Peer['heartbeat'] = (heartbeat) => this.#ask('heartbeat', (peer) => peer.heartbeat(heartbeat));
  unregister: Peer['unregister'] = () => this.#ask('unregister', (peer) => peer.unregister());

  async register(request: RegisterRequest): ReturnType<Peer['register']> {
    return await this.#send(this.#to, 'register', async (deps) => {
      if (!(await authenticatePeer(deps, this.#pool, this.#key))) throw unknown();
      return await registerPeer(deps, this.#pool, request);
    });
  }

  /** Answers are JSON on the wire: nothing is shared between sites. */
  async #ask<T>(what: string, work: (peer: Peer) => Promise<T>): Promise<T> {
    const answer = await this.#askWhole(what, work);
    return answer === undefined ? answer : (JSON.parse(JSON.stringify(answer)) as T);
  }

  async #askWhole<T>(what: string, work: (peer: Peer) => Promise<T>): Promise<T> {
    return await this.#send(this.#to, what, async (deps) => {
      const caller = await authenticatePeer(deps, this.#pool, this.#key);
      if (caller?.kind !== 'peer') throw unknown();
      return await work(new PeerEndpoint(deps, this.#pool, caller.peer));
    });
  }
}

const unknown = (): FarsideError => new FarsideError('EACCES', 'a peer that nobody knows');
