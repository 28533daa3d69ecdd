// A driver that fails on demand, before or after the effect, and the clock and random source for tests without waiting.

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import type { Clock } from '../../lib/clock.ts';
import { FarsideError, type Retry } from '../../lib/errors.ts';
import { type Random, systemRandom } from '../../lib/random.ts';

/** `before`: the store never saw it. `after`: it took effect, only the answer was lost. `meanwhile`: what others do then. */
export type Fault = { when: 'before' | 'after'; retry?: Retry; meanwhile?: () => Promise<unknown> };
type Method = Exclude<keyof Driver, 'kind'>;

export class FaultDriver implements Driver {
  readonly kind = 'memory';
  readonly inner: Driver;
  readonly calls: Method[] = [];
  /** Per method: what the next calls do; `undefined` lets one through. */
  readonly faults: Partial<Record<Method, Array<Fault | undefined>>> = {};

  constructor(inner: Driver) {
    this.inner = inner;
  }

  get: Driver['get'] = (...args) => this.#run('get', () => this.inner.get(...args));
  head: Driver['head'] = (...args) => this.#run('head', () => this.inner.head(...args));
  put: Driver['put'] = (...args) => this.#run('put', () => this.inner.put(...args));
  delete: Driver['delete'] = (...args) => this.#run('delete', () => this.inner.delete(...args));
  list: Driver['list'] = (...args) => this.#run('list', () => this.inner.list(...args));

  async #run<T>(method: Method, work: () => Promise<T>): Promise<T> {
    this.calls.push(method);
    const fault = this.faults[method]?.shift();
    if (!fault) return work();
    if (fault.when === 'after') await work();
    await fault.meanwhile?.();
    throw new FarsideError('ETIMEDOUT', 'made to fail', { retry: fault.retry ?? 'later' });
  }
}

export class StillClock implements Clock {
  readonly sleepsMs: number[] = [];
  nowMs = (): number => 1_000_000;
  async sleep(durationMs: number): Promise<void> {
    this.sleepsMs.push(durationMs);
  }
}

export const evenRandom: Random = { ...systemRandom, fraction: () => 0.5 };

export function makeBucket(inner: Driver = new MemoryDriver(new StillClock())) {
  const clock = new StillClock();
  const driver = new FaultDriver(inner);
  const deps = { clock, random: evenRandom };
  /** `rival` is another client of the same store, without faults. */
  return { clock, driver, deps, bucket: new Bucket(driver, deps), rival: new Bucket(inner, deps) };
}
