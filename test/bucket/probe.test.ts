import { describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver, PutCondition } from '../../lib/bucket/driver.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { probeBucket } from '../../lib/bucket/probe.ts';
import { systemRandom } from '../../lib/random.ts';
import { evenRandom, makeBucket, StillClock } from './faults.ts';

const deps = { random: systemRandom };

/** A store that is sound but for what `flaw` puts in place of its methods. */
function flawed(flaw: (sound: MemoryDriver) => Partial<Driver>): { bucket: Bucket; sound: MemoryDriver } {
  const sound = new MemoryDriver(new StillClock());
  const driver: Driver = {
    kind: 's3',
    get: sound.get.bind(sound),
    head: sound.head.bind(sound),
    put: sound.put.bind(sound),
    delete: sound.delete.bind(sound),
    list: sound.list.bind(sound),
    ...flaw(sound),
  };
  return { bucket: new Bucket(driver, { clock: new StillClock(), random: evenRandom }), sound };
}

/** A store that checks the condition and then writes, in two steps. */
const inTwoSteps =
  (applies: (condition: PutCondition) => boolean) =>
  (sound: MemoryDriver): Partial<Driver> => ({
    put: async (key, body, condition) => {
      if (!applies(condition)) return sound.put(key, body, condition);
      const present = await sound.head(key);
      const isMet = condition === 'absent' ? !present : present?.etag === (condition as { etag: string }).etag;
      await new Promise((resolve) => setImmediate(resolve));
      return isMet ? sound.put(key, body, 'none') : { status: 'refused' };
    },
  });

const ignoring =
  (applies: (condition: PutCondition) => boolean) =>
  (sound: MemoryDriver): Partial<Driver> => ({
    put: (key, body, condition) => sound.put(key, body, applies(condition) ? 'none' : condition),
  });

const isReplace = (condition: PutCondition): boolean => typeof condition === 'object';

describe('probe', () => {
  test('a sound store passes, with few requests, and keeps nothing of it', async () => {
    const { bucket, rival } = makeBucket();
    await probeBucket(bucket, deps);
    expect(bucket.counts()).toMatchObject({ A: 11, B: 0, free: 1 });
    expect((await rival.list({ prefix: '', limit: 10 })).objects).toEqual([]);
  });

  test('two probes at once do not meet', async () => {
    const { bucket } = makeBucket();
    await Promise.all([probeBucket(bucket, deps), probeBucket(bucket, deps)]);
  });

  test('passing faults, with and without effect, do not fail a sound store', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = [
      { when: 'after' },
      undefined,
      { when: 'before' },
      { when: 'before' },
      undefined,
      { when: 'after' },
    ];
    driver.faults.list = [{ when: 'before' }];
    await probeBucket(bucket, deps);
  });

  test.each<[string, (sound: MemoryDriver) => Partial<Driver>, RegExp]>([
    ['ignores put-if-absent', ignoring((condition) => condition === 'absent'), /ignores put-if-absent/],
    ['refuses every create', () => ({ put: async () => ({ status: 'refused' }) }), /refuses to create/],
    [
      'lets several racing creates win',
      inTwoSteps((condition) => condition === 'absent'),
      /put-if-absent atomic: 4 of 4/,
    ],
    ['ignores compare-and-swap', ignoring(isReplace), /ignores compare-and-swap/],
    ['lets several racing replaces win', inTwoSteps(isReplace), /compare-and-swap atomic: 2 of 2/],
    [
      'refuses every replace',
      (sound) => ({
        put: async (key, body, condition) =>
          isReplace(condition) ? { status: 'refused' } : sound.put(key, body, condition),
      }),
      /by its own tag/,
    ],
    [
      'replaces what does not exist',
      (sound) => ({
        put: async (key, body, condition) =>
          sound.put(key, body, isReplace(condition) && !(await sound.head(key)) ? 'none' : condition),
      }),
      /does not exist/,
    ],
    ['lists late', () => ({ list: async () => ({ objects: [], more: false }) }), /does not list/],
  ])('a store that %s is refused, with a remedy, and cleaned up', async (_, flaw, what) => {
    const { bucket, sound } = flawed(flaw);
    const fault = await probeBucket(bucket, deps).catch((error: unknown) => error as Error);
    expect(fault).toMatchObject({ code: 'EOPNOTSUPP', retry: 'never', message: expect.stringMatching(what) });
    expect((fault as Error).message).toContain('use R2, S3');
    expect((await sound.list({ prefix: '', limit: 10 })).objects).toEqual([]);
  });

  test('a store that cannot be reached is not called unfit', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = Array.from({ length: 100 }, () => ({ when: 'before' as const }));
    await expect(probeBucket(bucket, deps)).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
  });
});
