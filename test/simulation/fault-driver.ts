// Owns a site's bucket in a simulation: the memory driver behind a network. Every request takes virtual time and may fail
// before or after its effect, be told to come back later, or (a put) land long after its client was told that it timed out.
// What takes effect is shown to an observer at that very instant, and kept in `objects` for checks that need no request.

import type { Driver, ListOptions, PutCondition, PutOutcome } from '../../lib/bucket/driver.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { FarsideError } from '../../lib/errors.ts';
import type { Dice } from './dice.ts';
import type { Origin, Scheduler } from './scheduler.ts';
import type { Weather } from './weather.ts';

export type Landing = { key: string; body: Buffer; before: Buffer | undefined; origin: Origin };
export type Deletion = { keys: readonly string[]; origin: Origin };

export type StoreObserver = {
  onLanding(landing: Landing): void;
  onDeletion(deletion: Deletion): void;
};

type Fate = 'fine' | 'throttled' | 'lost before' | 'lost after' | 'lands late' | 'race';

/** A seam for planted bugs: answers instead of the store, or undefined to leave the request alone. */
export type PutSabotage = (key: string, body: Uint8Array, condition: PutCondition) => PutOutcome | undefined;

export class FaultDriver implements Driver {
  readonly kind = 'memory';
  readonly objects = new Map<string, Buffer>();
  readonly #name: string;
  readonly #inner: MemoryDriver;
  readonly #scheduler: Scheduler;
  readonly #dice: Dice;
  readonly #weather: Weather;
  #observer: StoreObserver | undefined;
  requestCount = 0;
  sabotagePut: PutSabotage | undefined;
  /** Stores something else than was put. */
  sabotageBody: ((key: string, body: Uint8Array) => Uint8Array | undefined) | undefined;
  sabotageDelete: ((keys: readonly string[]) => readonly string[]) | undefined;

  constructor(name: string, scheduler: Scheduler, dice: Dice, weather: Weather) {
    this.#name = name;
    this.#inner = new MemoryDriver(scheduler.clock);
    this.#scheduler = scheduler;
    this.#dice = dice;
    this.#weather = weather;
  }

  observe(observer: StoreObserver): void {
    this.#observer = observer;
  }

  get: Driver['get'] = (key, options) => this.#read('get', key, () => this.#inner.get(key, options));
  head: Driver['head'] = (key) => this.#read('head', key, () => this.#inner.head(key));
  list: Driver['list'] = (options: ListOptions) => this.#read('list', options.prefix, () => this.#inner.list(options));

  async put(key: string, body: Uint8Array, condition: PutCondition): Promise<PutOutcome> {
    const fate = await this.#travel('put', key, true);
    const origin = this.#scheduler.origin;
    if (fate === 'lands late') {
      const copy = new Uint8Array(body);
      this.#scheduler.after(
        this.#dice.skewed(50, 8000),
        this.#scheduler.world,
        () => void this.#store(key, copy, condition, origin, ' late'),
      );
      throw timedOut(key);
    }
    const sabotaged = this.sabotagePut?.(key, body, condition);
    if (sabotaged) return sabotaged;
    const stored = this.sabotageBody?.(key, body) ?? body;
    const outcome = await this.#store(key, stored, condition, origin, fate === 'fine' ? '' : ` ${fate}`);
    if (fate === 'lost after') throw timedOut(key);
    return outcome;
  }

  async delete(keys: readonly string[]): Promise<void> {
    const fate = await this.#travel('delete', `${keys[0] ?? ''} and ${keys.length - 1} more`, false);
    const all = this.sabotageDelete?.(keys) ?? keys;
    await this.#inner.delete(all);
    for (const key of all) this.objects.delete(key);
    this.#observer?.onDeletion({ keys: all, origin: this.#scheduler.origin });
    if (fate === 'lost after') throw timedOut(all[0] ?? '');
  }

  async #read<T>(method: string, key: string, work: () => Promise<T>): Promise<T> {
    await this.#travel(method, key, false);
    return await work();
  }

  async #store(
    key: string,
    body: Uint8Array,
    condition: PutCondition,
    origin: Origin,
    how: string,
  ): Promise<PutOutcome> {
    const outcome = await this.#inner.put(key, body, condition);
    this.#scheduler.trace(`${this.#name} put ${key} ${outcome.status}${how} (${origin.label})`);
    if (outcome.status === 'refused') return outcome;
    const before = this.objects.get(key);
    const copy = Buffer.from(body);
    this.objects.set(key, copy);
    this.#observer?.onLanding({ key, body: copy, before, origin });
    return outcome;
  }

  /** Latency, then what becomes of the request. Throws when it has no effect. */
  async #travel(method: string, key: string, isPut: boolean): Promise<Fate> {
    this.requestCount += 1;
    await this.#scheduler.pause(this.#weather.latencyMs(this.#dice));
    const fate = this.#fate(isPut, method === 'delete');
    if (method !== 'put' || fate !== 'fine')
      this.#scheduler.trace(
        `${this.#name} ${method} ${key}${fate === 'fine' ? '' : `: ${fate}`} (${this.#scheduler.origin.label})`,
      );
    if (fate === 'throttled') throw new FarsideError('EAGAIN', 'slow down', { retry: 'later' });
    if (fate === 'race') throw new FarsideError('EAGAIN', 'a racing put: repeat it', { retry: 'now' });
    if (fate === 'lost before') throw timedOut(key);
    return fate;
  }

  #fate(isPut: boolean, isDelete: boolean): Fate {
    if (!this.#dice.chance(this.#weather.bucketFaults)) return 'fine';
    if (isPut)
      return this.#dice.weighted<Fate>({
        throttled: 3,
        'lost before': 2,
        'lost after': 3,
        'lands late': 2,
        race: 2,
      });
    return this.#dice.weighted<Fate>(
      isDelete ? { throttled: 2, 'lost before': 1, 'lost after': 2 } : { throttled: 2, 'lost before': 2 },
    );
  }
}

const timedOut = (key: string): FarsideError =>
  new FarsideError('ETIMEDOUT', `no answer about '${key}'`, { retry: 'later' });
