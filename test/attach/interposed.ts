// Races made certain: something happens right before a request of one process takes effect.

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { seededRandom, type MemorySite } from '../image/model.ts';

/**
 * The site as a process sees it before whose first puts under keys that `isWanted` accepts `happens` runs. `land`: the put takes
 * effect already, and its answer comes later.
 */
export function interposed(
  deps: MemorySite,
  isWanted: (key: string) => boolean,
  happens: (putIndex: number, land: () => Promise<unknown>) => Promise<unknown>,
  timesMax = 1,
): MemorySite {
  let times = 0;
  const put: Driver['put'] = async (key, body, condition) => {
    const land = (): ReturnType<Driver['put']> => deps.driver.put(key, body, condition);
    if (isWanted(key) && times < timesMax) await happens(times++, land);
    return await land();
  };
  const driver: Driver = {
    kind: 'memory',
    get: (key, options) => deps.driver.get(key, options),
    head: (key) => deps.driver.head(key),
    put,
    delete: (keys) => deps.driver.delete(keys),
    list: (options) => deps.driver.list(options),
  };
  // Another process draws other ids.
  const random = seededRandom(4711);
  return { ...deps, random, bucket: new Bucket(driver, { clock: deps.clock, random }) };
}

export const isHeader = (key: string): boolean => key.endsWith('/header.json');
