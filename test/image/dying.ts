// Processes that die at any of their requests, for tests of what they leave behind.

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { FarsideError } from '../../lib/errors.ts';
import { seededRandom, type MemorySite } from './model.ts';

type Method = 'get' | 'head' | 'put' | 'delete' | 'list';

/** The site as a process sees it that dies at its request number `requestMax`: before it took effect, or after. */
export function dying(deps: MemorySite, requestMax: number, when: 'before' | 'after'): MemorySite {
  let requestCount = 0;
  const dead = (): FarsideError => new FarsideError('ECANCELED', 'dead', { retry: 'never' });
  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    requestCount++;
    if (requestCount > requestMax || (requestCount === requestMax && when === 'before')) throw dead();
    const result = await work();
    if (requestCount >= requestMax) throw dead();
    return result;
  };
  const wrapped = <M extends Method>(method: M): Driver[M] =>
    ((...args: unknown[]) =>
      run(() => (deps.driver[method] as (...all: unknown[]) => Promise<unknown>)(...args))) as Driver[M];
  const driver: Driver = {
    kind: 'memory',
    get: wrapped('get'),
    head: wrapped('head'),
    put: wrapped('put'),
    delete: wrapped('delete'),
    list: wrapped('list'),
  };
  // Another process draws other ids.
  const random = seededRandom(requestMax * 2 + (when === 'after' ? 1 : 0));
  return { ...deps, random, bucket: new Bucket(driver, { clock: deps.clock, random }) };
}

/** Runs `work` dying at every request in turn, until it lives through; `check` sees what each death left. */
export async function atEveryRequest(
  setUp: () => Promise<MemorySite>,
  work: (deps: MemorySite) => Promise<unknown>,
  check: (deps: MemorySite, place: string) => Promise<void>,
): Promise<number> {
  for (let requestMax = 1; ; requestMax++) {
    for (const when of ['before', 'after'] as const) {
      const deps = await setUp();
      const outcome = await work(dying(deps, requestMax, when)).then(
        () => 'done',
        (error: FarsideError) => error.code,
      );
      await check(deps, `${when} request ${requestMax}: ${outcome}`);
      if (outcome === 'done') return requestMax;
    }
  }
}
