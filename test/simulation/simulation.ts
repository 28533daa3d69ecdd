// Owns one run: sites, peers, weather and work drawn from a seed; then everything healed, ticks alone, and the final checks.

import { isDeepStrictEqual } from 'node:util';

import { FarsideError } from '../../lib/errors.ts';
import { openHeader, readHeader } from '../../lib/image/access.ts';
import { breakEpoch } from '../../lib/image/journal/epochs.ts';
import { foldTail } from '../../lib/image/journal/fold.ts';
import { openStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { settingsDefault } from '../../lib/image/deps.ts';
import { limitsDefault } from '../../lib/mirror/limits.ts';
import { createBootstrapToken, importBootstrapToken } from '../../lib/mirror/peers/peer.ts';
import { createNamespace } from '../../lib/mirror/namespace.ts';
import { createPool, mirrorOf, readPool, sends } from '../../lib/mirror/pool.ts';
import { enablePool } from '../../lib/mirror/verbs/pool-mode.ts';
import { setPoolRetention } from '../../lib/mirror/verbs/retention-verbs.ts';
import { addSchedule, removeSchedule } from '../../lib/mirror/schedules/schedules.ts';
import { poolRegistry } from '../../lib/site/site-document.ts';
import { BucketReader } from './bucket-reader.ts';
import { Dice } from './dice.ts';
import { checkByFeature, checkConverged, waitsForParent, type Direction } from './convergence.ts';
import { habitsOf, type Focus, type Habits } from './habits.ts';
import { GroundTruth } from './truth/ground-truth.ts';
import { SiteTruth } from './truth/site-truth.ts';
import { Process, Scheduler } from './scheduler.ts';
import { SimulatedSite, type Seams } from './simulated-site.ts';
import { Violation } from './violation.ts';
import { drawTopology } from './topology.ts';
import { drawClimate, setClimate, Weather, type Climate } from './weather.ts';
import { pool, specOf, Workload, type Command, type Shape } from './workload.ts';

const minuteMs = 60_000;
const eventsMax = 150_000;
/** When every message is lost and a poll looks after one image only, each of four images has one tick in four. */
const settleRoundsMax = 300;
/** Long enough for a full comparison of catalogs, the backstop. */
const settledRounds = 8;
const idleRequestsMax = 40;
/** Of the runs: it takes many ticks. */
const idleShare = 0.25;

export type SimulationOptions = {
  seed: number;
  seams?: Seams;
  /** What is done most; drawn where it is left out. */
  focus?: Focus;
  /** Every message is lost once all other faults are over, as in half of the runs anyway. */
  isSilentAfter?: boolean;
  /** Called when the sites are there and before anything happens. */
  sabotage?: (world: Simulation) => void;
  onTrace?: (line: string) => void;
};

export type Statistics = {
  events: number;
  requests: number;
  commands: Record<string, Record<string, number>>;
  points: number;
};

export class Simulation {
  readonly seed: number;
  readonly scheduler = new Scheduler();
  readonly weather = new Weather();
  readonly sites: SimulatedSite[] = [];
  readonly truth: GroundTruth;
  readonly commands: Statistics['commands'] = {};
  readonly directions: Direction[] = [];
  readonly #options: SimulationOptions;
  readonly #dice: Dice;
  readonly #climate: Climate;
  readonly #workload: Workload;
  readonly #habits: Habits;
  /** Of the images of each site: the default one, or one that is mapped to the peer's. */
  readonly #namespaces = new Map<string, string>();
  #active = 0;
  #clients = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.seed = options.seed;
    this.scheduler.onTrace = options.onTrace;
    this.#dice = new Dice(options.seed, 'world');
    this.#climate = drawClimate(this.#dice);
    this.truth = new GroundTruth((error) => this.scheduler.fail(error));
    const isFat = this.#dice.chance(0.06);
    const focus =
      options.focus ?? this.#dice.weighted<Focus>({ everything: 6, writers: 0.7, journals: 0.9, takeovers: 0.4 });
    this.#habits = habitsOf[focus];
    const names = this.#dice.pick([['a'], ['a', 'b'], ['a', 'b', 'c']]);
    const shape: Shape = isFat
      ? { objectBytes: [65_536, 131_072], unitBytes: 16_384, unitsMax: 40, imageNames: ['a'] }
      : {
          objectBytes: [4096, 8192, 16_384],
          unitBytes: 4096,
          unitsMax: 32,
          imageNames: focus === 'everything' ? names : ['a'],
        };
    this.#workload = new Workload(new Dice(options.seed, 'workload'), {
      shape,
      habits: this.#habits,
      namespaces: this.#namespaces,
      areModesSwitched: this.#habits.areModesSwitched,
    });
    this.#makeSites(isFat);
  }

  #makeSites(isFat: boolean): void {
    const dice = this.#dice;
    const areModesSwitched = this.#habits.areModesSwitched;
    const settings = {
      ...settingsDefault,
      packBytes: isFat ? 196_608 : dice.pick([8192, 16_384]),
      blockBytes: isFat ? 16_384 : 4096,
      transfersMax: dice.integer(1, 3),
      collectGraceMs: dice.pick([0.2, 1, 5]) * minuteMs,
    };
    const limits = {
      ...limitsDefault,
      pieceBytesMax: dice.pick([8192, 32_768, 131_072]),
      piecePacksMax: dice.pick([1, 2, 5]),
      pieceRangesMax: dice.pick([1, 3, 100]),
      walkNodesMax: dice.pick([2, 5, 50]),
      manifestsMax: dice.pick([1, 2, 8]),
      resendPiecesMax: dice.pick([1, 3, 100]),
      inlineBytesMax: dice.pick([1, 10_000, 60_000]),
      segmentsMax: dice.pick([1, 3, 256]),
      segmentsConcurrency: dice.integer(1, 3),
      replicaTailMax: dice.pick([1, 3, 64]),
      packsConcurrency: dice.integer(1, 3),
      standstillMs: dice.pick([10_000, 30_000]),
      feedRecordsMax: dice.pick([1, 3, 200]),
      feedPagesMax: dice.pick([1, 5]),
      pollPendingMax: dice.pick([1, 64]),
      pollInlineMax: dice.pick([1, 8]),
      compareEveryMs: dice.pick([2, 6]) * minuteMs,
      featureImagesMax: areModesSwitched ? 1 : limitsDefault.featureImagesMax,
      featureImagesHereMax: areModesSwitched ? 1 : limitsDefault.featureImagesHereMax,
      mirrorSnapshotsMax: dice.pick([3, 5]),
      replicaKeptMs: 3 * minuteMs,
    };
    const collectLimits = {
      nodesMax: dice.pick([3, 20, 4096]),
      packsMax: dice.pick([3, 8000]),
      shrinksMax: 4,
    };
    const reader = new BucketReader();
    const siteCount = dice.chance(0.25) ? 3 : 2;
    for (const name of ['alpha', 'beta', 'gamma'].slice(0, siteCount)) {
      const site = new SimulatedSite({
        name,
        seed: this.seed,
        scheduler: this.scheduler,
        weather: this.weather,
        sites: this.sites,
        settings,
        limits,
        collectLimits,
        isQueueDurable: dice.chance(0.5),
        seams: this.#options.seams ?? {},
      });
      this.sites.push(site);
      this.truth.sites.push(new SiteTruth(name, site.driver, reader, this.truth));
    }
  }

  /** Throws a `Violation` when an invariant breaks. */
  async run(): Promise<Statistics> {
    this.weather.latencyMaxMs = 5;
    await this.#do('founding', () => this.#found());
    this.#options.sabotage?.(this);
    setClimate(this.weather, this.#climate);
    await this.#work();
    await this.#heal();
    await this.#do('reading back', () => this.#readBack());
    return this.statistics();
  }

  statistics(): Statistics {
    const requests = this.sites.reduce((sum, site) => sum + site.driver.requestCount, 0);
    return {
      events: this.scheduler.eventCount,
      requests,
      commands: this.commands,
      points: this.truth.pointCount,
    };
  }

  /** Runs `work` to its end, on nobody's behalf. */
  async #do(label: string, work: () => Promise<void>): Promise<void> {
    let isDone = false;
    this.scheduler.as({ process: this.scheduler.world, label }, () => {
      work().then(
        () => (isDone = true),
        (error: unknown) => this.scheduler.fail(error),
      );
    });
    await this.scheduler.runUntil(() => isDone, eventsMax);
  }

  async #found(): Promise<void> {
    for (const site of this.sites) {
      await site.found();
      await createPool(site.deps, poolRegistry(site.deps), pool);
    }
    const remotes = this.#drawNamespaces();
    for (const { from, to, isTwoWay } of drawTopology(this.#dice, this.sites)) {
      await enablePool(from.deps, pool, 'image');
      await importBootstrapToken(to.deps, pool, await createBootstrapToken(from.deps, pool), {
        direction: isTwoWay ? 'rx-tx' : 'rx-only',
        additional: true,
      });
      this.directions.push({ from: from.name, to: to.name });
      if (isTwoWay) this.directions.push({ from: to.name, to: from.name });
    }
    for (const site of this.sites) {
      const namespace = this.#namespaceOf(site);
      if (namespace !== '') {
        await createNamespace(site.deps, pool, namespace);
        await enablePool(site.deps, pool, 'image', {
          namespace,
          remoteNamespace: remotes.get(site.name),
        });
      }
      if (this.#dice.chance(0.3)) await setPoolRetention(site.deps, pool, this.#dice.pick(['3h', '1h,1d']));
      if (this.#dice.chance(0.4)) await addSchedule(site.deps, { pool }, this.#dice.pick(['1m', '3m']));
      const { value } = await readPool(site.deps, pool);
      this.truth.site(site.name)!.place.mirrorUuid = mirrorOf(value, namespace)!.mirrorUuid;
    }
  }

  #namespaceOf({ name }: SimulatedSite): string {
    return this.#namespaces.get(name) ?? '';
  }

  /** A namespace at every site; of two sites each may call it otherwise. Gives what the peers of each site call it. */
  #drawNamespaces(): ReadonlyMap<string, string> {
    if (!this.#dice.chance(0.25)) return new Map();
    for (const { name } of this.sites) this.#namespaces.set(name, 'x');
    const [first, second, third] = this.sites;
    if (!first || !second || third || this.#dice.chance(0.4)) return new Map();
    this.#namespaces.set(second.name, 'copy-of-x');
    return new Map([
      [first.name, 'copy-of-x'],
      [second.name, 'x'],
    ]);
  }

  async #work(): Promise<void> {
    const dice = this.#dice;
    const commandCount = dice.integer(8, 30);
    const pauseMaxMs = dice.pick(this.#habits.pausesMaxMs);
    let isOver = false;
    const world = this.scheduler.world;
    const again = (delayMs: number, what: () => void): void =>
      this.scheduler.after(delayMs, world, () => {
        if (isOver) return;
        what();
      });
    let left = commandCount;
    const nextCommand = (): void => {
      if (left-- <= 0) {
        again(dice.integer(1000, 3 * minuteMs), () => (isOver = true));
        return;
      }
      const site = dice.chance(0.6) ? this.sites[0]! : dice.pick(this.sites);
      const command = this.#workload.next(site.name, this.truth.census());
      this.start(command);
      const pauseMs = dice.chance(0.3) ? dice.integer(0, 300) : dice.integer(0, pauseMaxMs);
      again(command.thenMs ?? pauseMs, nextCommand);
    };
    again(0, nextCommand);
    for (const site of this.sites) {
      const nextTick = (): void => {
        if (!dice.chance(0.1)) this.tick(site);
        if (dice.chance(0.1)) this.tick(site);
        again(dice.integer(10_000, 70_000), nextTick);
      };
      again(dice.integer(0, 60_000), nextTick);
    }
    if (this.#climate.crashes > 0) this.#crashNowAndThen(again);
    if (this.#climate.storms) this.#stormNowAndThen(again);
    await this.scheduler.runUntil(() => isOver, eventsMax);
  }

  #crashNowAndThen(again: (delayMs: number, what: () => void) => void): void {
    const dice = this.#dice;
    const crash = (): void => {
      const site = dice.pick(this.sites);
      site.kill();
      again(dice.chance(0.7) ? dice.integer(1, 5000) : dice.integer(1, 3 * minuteMs), () => site.isUp || site.start());
      again(dice.integer(1000, minuteMs / this.#climate.crashes), crash);
    };
    again(dice.integer(1000, minuteMs / this.#climate.crashes), crash);
  }

  #stormNowAndThen(again: (delayMs: number, what: () => void) => void): void {
    const dice = this.#dice;
    const { weather } = this;
    const storm = (): void => {
      const { from: a, to: b } = dice.pick(this.directions);
      const kind = dice.weighted({
        partition: 4,
        'no messages': 3,
        'bad bucket': 2,
        'bad network': 2,
        slow: 1,
      });
      this.scheduler.trace(`storm: ${kind}`);
      if (kind === 'partition') weather.partition(a, b, true);
      if (kind === 'no messages') weather.loseEverything = true;
      if (kind === 'bad bucket') weather.bucketFaults = 0.4;
      if (kind === 'bad network') weather.peerFaults = 0.5;
      if (kind === 'slow') weather.latencyMaxMs = 40_000;
      again(dice.integer(5000, 4 * minuteMs), () => {
        weather.partition(a, b, false);
        weather.loseEverything = false;
        setClimate(weather, this.#climate);
        this.scheduler.trace('storm: over');
        again(dice.integer(5000, 5 * minuteMs), storm);
      });
    };
    again(dice.integer(5000, 3 * minuteMs), storm);
  }

  /** Runs a command in a client's process, or in the site's. A client dies now and then. */
  start({ operation, where, run }: Command): void {
    const { scheduler } = this;
    const site = this.sites.find(({ name }) => name === operation.siteName)!;
    const kind = operation.what
      .split(' ')
      .slice(0, 2)
      .join(' ')
      .replace(/ [a-z]$/, '');
    const count = (outcome: string): void => {
      const counts = (this.commands[kind] ??= {});
      counts[outcome] = (counts[outcome] ?? 0) + 1;
    };
    const process = where === 'site' ? site.process : new Process(`client ${++this.#clients}`);
    if (!process) return count('site down');
    const deps = where === 'site' ? site.deps : site.freshDeps(process.name);
    this.#active += 1;
    scheduler.trace(`${operation.title} begins`);
    const died = (): void => {
      this.#active -= 1;
      count('died');
      scheduler.trace(`${operation.title} dies`);
    };
    process.onDeath.add(died);
    if (where === 'client' && this.#dice.chance(this.#climate.crashes / 10)) {
      scheduler.after(this.#dice.skewed(1, 30_000), scheduler.world, () => process.kill());
    }
    const ended = (outcome: string, check: () => void): void => {
      process.onDeath.delete(died);
      this.#active -= 1;
      count(outcome);
      scheduler.trace(`${operation.title}: ${outcome}`);
      this.truth.guard(check);
    };
    this.truth.began(operation);
    scheduler.as({ process, operation, label: operation.what }, () => {
      run(deps, site).then(
        () => ended('done', () => this.truth.succeeded(operation)),
        (error: unknown) => {
          if (!(error instanceof FarsideError)) return scheduler.fail(error);
          ended(error.code, () => {
            if (error.retry === 'never') this.truth.refused(operation, `${error.code}: ${error.message}`);
            if (error.code === 'EBADMSG') scheduler.trace(`damage? ${error.message}`);
          });
        },
      );
    });
  }

  /** Scheduled snapshots, and a poll of every peer. */
  tick(site: SimulatedSite): void {
    const process = site.process;
    if (!process) return;
    this.scheduler.as({ process, label: `tick of ${site.name}` }, () => {
      (this.#options.seams?.tick?.(site) ?? site.tick()).catch((error: unknown) => {
        if (!(error instanceof FarsideError)) this.scheduler.fail(error);
      });
    });
  }

  async #heal(): Promise<void> {
    const { scheduler, weather } = this;
    scheduler.trace('healed');
    weather.calm();
    for (const site of this.sites) if (!site.isUp) site.start();
    await scheduler.runUntil(() => this.#active === 0, eventsMax);
    if (this.#active > 0) throw new Violation('model', `${this.#active} commands never end`);
    await this.#do('schedules end', async () => {
      for (const site of this.sites) await removeSchedule(site.deps, { pool });
    });
    if (this.#habits.areModesSwitched) await this.#do('modes again', () => this.#setModesAgain());
    // A writer that died leaves its epoch open; what it flushed is followed all the same.
    if (this.#dice.chance(this.#habits.endedShare)) await this.#endEpochs();
    // A peer that has not called since it registered is sent nothing.
    await this.#tickAll();
    if (this.#dice.chance(this.#habits.writtenOnceMoreShare)) await this.#writeOnceMore();
    weather.loseEverything = this.#dice.chance(0.5) || this.#options.isSilentAfter === true;
    scheduler.trace(weather.loseEverything ? 'ticks alone from here on' : 'messages arrive from here on');
    let problem: string | undefined;
    for (let round = 0; round < settleRoundsMax; round++) {
      await this.#tickAll();
      problem = checkConverged(this.truth, this.directions) ?? checkByFeature(this.truth);
      if (!problem && round >= 1) break;
    }
    if (problem)
      throw new Violation(
        weather.loseEverything ? 'I4' : 'I3',
        `not in step after ${settleRoundsMax} ticks: ${problem}`,
      );
    const areWaiting = this.directions.some(({ from, to }) => {
      const [source, target] = [this.truth.site(from)!, this.truth.site(to)!];
      return [...source.images.values()].some((image) => image.globalId && waitsForParent(image, source, target));
    });
    if (this.#dice.chance(idleShare) && !areWaiting) await this.#checkIdle();
  }

  /** Makes up for images that were made while their site was away; so does the daily round. */
  async #setModesAgain(): Promise<void> {
    for (const site of this.sites) {
      const namespace = this.#namespaceOf(site);
      const mode = mirrorOf((await readPool(site.deps, pool)).value, namespace)?.mode;
      if (mode === 'pool') await enablePool(site.deps, pool, mode, { namespace });
    }
  }

  async #endEpochs(): Promise<void> {
    await this.#do('epochs end', async () => {
      for (const site of this.sites)
        for (const { imageId } of this.truth.site(site.name)!.images.values()) {
          const stored = await readHeader(site.deps, imageId);
          if (stored?.value.journal?.state === 'open') await breakEpoch(site.deps, stored);
        }
    });
  }

  /** After all that happened, a primary can be written to, and mirrored. */
  async #writeOnceMore(): Promise<void> {
    await this.#endEpochs();
    for (const site of this.sites) {
      for (const truth of [...this.truth.site(site.name)!.images.values()].filter(({ role }) => role === 'primary')) {
        const { deps } = site;
        const must = async (command: Command): Promise<void> => {
          const { operation } = command;
          for (let tries = 0; ; tries++) {
            try {
              await this.scheduler.as({ process: this.scheduler.world, operation, label: operation.what }, () =>
                command.run(deps, site),
              );
              return this.truth.succeeded(operation);
            } catch (error) {
              if (!(error instanceof FarsideError) || error.retry === 'never' || tries === 5)
                throw new Violation('I7', `'${operation.title}' fails in good weather: ${String(error)}`);
            }
          }
        };
        if (!truth.header.mirror || !this.directions.some(({ from }) => from === site.name)) continue;
        await this.#do('writing once more', async () => {
          await must(this.#workload.make('update', site.name, truth.view.name, truth));
          if (truth.header.parent && this.#dice.chance(0.5))
            await must(this.#workload.make('flatten', site.name, truth.view.name, truth));
          // A peer that could never call yet is not known.
          const isJournaled = truth.header.mirror?.mode === 'journal';
          if (!isJournaled && (await readPool(deps, pool)).value.peers.some(sends))
            await must(this.#workload.make('mirror snapshot', site.name, truth.view.name, truth));
        });
      }
    }
  }

  async #tickAll(): Promise<void> {
    for (const site of this.sites) this.tick(site);
    const untilMs = this.scheduler.nowMs + minuteMs;
    await this.#do('a minute', () => this.scheduler.pause(untilMs - this.scheduler.nowMs));
  }

  /** A further tick changes nothing and costs next to nothing. */
  async #checkIdle(): Promise<void> {
    this.weather.loseEverything = false;
    for (let round = 0; round < settledRounds; round++) await this.#tickAll();
    if (await this.#isTrashDue()) return;
    const before = this.sites.map((site) => content(site));
    const requestsBefore = this.sites.map((site) => site.driver.requestCount);
    await this.#tickAll();
    for (const [index, site] of this.sites.entries()) {
      const after = content(site);
      const changed = [...new Set([...before[index]!.keys(), ...after.keys()])].filter(
        (key) => !isDeepStrictEqual(before[index]!.get(key), after.get(key)),
      );
      if (changed.length > 0) throw new Violation('I3', `an idle tick changed ${changed.join(', ')} at ${site.name}`);
      const requests = site.driver.requestCount - requestsBefore[index]!;
      if (requests > idleRequestsMax)
        throw new Violation('I11', `an idle tick of ${site.name} took ${requests} requests`);
    }
  }

  /** What mirroring keeps in the trash, or left there when it died, is looked at now and then: the next tick may be such a one. */
  async #isTrashDue(): Promise<boolean> {
    let isDue = false;
    await this.#do('the next look at the trash', async () => {
      for (const { deps } of this.sites) {
        const { trash } = (await readPool(deps, pool)).value;
        if (trash && trash.dueAtMs <= deps.clock.nowMs() + 2 * minuteMs) isDue = true;
      }
    });
    return isDue;
  }

  /** Every image, by name, by the engine's own way, against the truth. */
  async #readBack(): Promise<void> {
    for (const site of this.sites) {
      const deps = site.freshDeps('the reader');
      for (const truth of this.truth.site(site.name)!.images.values()) {
        if (
          truth.role === 'creating' ||
          truth.role === 'trashed' ||
          !(truth.isAcknowledged || truth.role === 'replica')
        )
          continue;
        const found = await openHeader(deps, specOf(truth.view.name, this.#namespaceOf(site))).catch(
          (error: unknown) => error,
        );
        if (found instanceof Error)
          throw new Violation('I5', `${truth.title} cannot be opened by its name: ${found.message}`);
        const opened = found as Awaited<ReturnType<typeof openHeader>>;
        if (opened.value.imageId !== truth.imageId) continue; // another image took the name
        const { value } = await foldTail(deps, opened);
        const store = openStore(deps, value);
        const bytes = await readRange(store, value.root, value.objectBytes, {
          offset: 0,
          length: value.sizeBytes,
        });
        if (truth.view.content.bytes.compare(bytes) !== 0)
          throw new Violation('I1', `${truth.title} reads differently from what its map says`);
      }
    }
  }
}

/** What must stand still; heartbeats, reports and cursors may move. */
function content(site: SimulatedSite): Map<string, Buffer> {
  return new Map([...site.driver.objects].filter(([key]) => !/^status\/|\/peers\//.test(key)));
}

export async function simulate(options: SimulationOptions): Promise<Statistics> {
  const simulation = new Simulation(options);
  try {
    return await simulation.run();
  } catch (error) {
    throw new SimulationFailure(simulation, error);
  }
}

/** Says everything that is needed to look into it. */
export class SimulationFailure extends Error {
  readonly violation: Violation | undefined;

  constructor(simulation: Simulation, cause: unknown) {
    const { seed, scheduler } = simulation;
    const why: string = whyOf(cause);
    const tail = scheduler.tail.slice(-40).join('\n  ');
    super(`seed ${seed}: ${why}\n  the last events:\n  ${tail}\n  replay: npm run simulate -- --seed ${seed} --trace`, {
      cause,
    });
    this.violation = cause instanceof Violation ? cause : undefined;
  }
}

function whyOf(cause: unknown): string {
  if (cause instanceof Violation) return cause.message;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
