import { describe, expect, test } from 'vitest';
import { z } from 'zod';

import {
  createDocument,
  racesMax,
  readDocument,
  replaceDocument,
  type Stored,
  updateDocument,
} from '../../lib/bucket/document.ts';
import { systemRandom } from '../../lib/random.ts';
import { makeBucket } from './faults.ts';

const schema = z.object({ count: z.int() });
type Counter = z.infer<typeof schema>;
const key = 'site.json';
const random = systemRandom;

async function setUp(count = 0) {
  const made = makeBucket();
  const first = (await createDocument(made.rival, key, { count }, random)) as Stored<Counter>;
  const update = (change: (value: Counter) => Counter | undefined) =>
    updateDocument(made.bucket, key, schema, random, made.clock, change);
  const byRival = async (count: number): Promise<void> => {
    const stored = (await readDocument(made.rival, key, schema))!;
    expect(await replaceDocument(made.rival, stored, { count }, random)).toBeDefined();
  };
  return { ...made, first, update, byRival };
}

describe('reading', () => {
  test('an absent document is undefined', async () => {
    const { bucket } = makeBucket();
    expect(await readDocument(bucket, key, schema)).toBeUndefined();
  });

  test('what was created is read back, with its revision and tag', async () => {
    const { bucket, first } = await setUp(7);
    expect(first).toMatchObject({ key, revision: 1, value: { count: 7 } });
    expect(await readDocument(bucket, key, schema)).toEqual(first);
  });

  test.each([
    ['no JSON', 'x{'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['no envelope', '{"count":1}'],
    ['a revision below 1', '{"revision":0,"writeId":"w","value":{"count":1}}'],
    ['another value', '{"revision":1,"writeId":"w","value":{"count":"many"}}'],
    ['no value', '{"revision":1,"writeId":"w"}'],
    ['nothing', ''],
  ])('an object with %s is malformed, and the failure names its key', async (_, body) => {
    const { bucket } = makeBucket();
    await bucket.create(key, Buffer.from(body as string));
    await expect(readDocument(bucket, key, schema)).rejects.toMatchObject({
      code: 'EBADMSG',
      retry: 'never',
      message: expect.stringContaining(key),
    });
  });
});

describe('creating and replacing', () => {
  test('a document that exists is not created again, and equal values of two creators are told apart', async () => {
    const { bucket, first } = await setUp();
    expect(await createDocument(bucket, key, first.value, random)).toBeUndefined();
  });

  test('each replace counts the revision up and makes a tag that never was, even for an old value', async () => {
    const { bucket, first } = await setUp(1);
    const second = (await replaceDocument(bucket, first, { count: 2 }, random))!;
    const third = (await replaceDocument(bucket, second, { count: 1 }, random))!;
    expect([second.revision, third.revision]).toEqual([2, 3]);
    expect(new Set([first.etag, second.etag, third.etag]).size).toBe(3);
    expect(await replaceDocument(bucket, first, { count: 9 }, random)).toBeUndefined();
    expect(await readDocument(bucket, key, schema)).toEqual(third);
  });

  test('a replace of a removed document is a lost race', async () => {
    const { bucket, first } = await setUp();
    await bucket.delete([key]);
    expect(await replaceDocument(bucket, first, { count: 2 }, random)).toBeUndefined();
  });

  test('a lost answer: a create or replace that landed is ours', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = [{ when: 'after' }, undefined, { when: 'after' }];
    const first = (await createDocument(bucket, key, { count: 1 }, random))!;
    const second = (await replaceDocument(bucket, first, { count: 2 }, random))!;
    expect(await readDocument(bucket, key, schema)).toEqual(second);
  });

  test('a lost answer: when a rival took our revision, ours never landed, and that is a lost race', async () => {
    const { bucket, driver, first, byRival } = await setUp();
    await byRival(5);
    driver.faults.put = [{ when: 'before' }];
    expect(await replaceDocument(bucket, first, { count: 2 }, random)).toBeUndefined();
  });

  test('a lost answer: when the document has moved past our revision, the outcome is said to be unclear', async () => {
    const { bucket, driver, first, byRival } = await setUp();
    driver.faults.put = [{ when: 'after', meanwhile: () => byRival(5) }];
    await expect(replaceDocument(bucket, first, { count: 2 }, random)).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      retry: 'later',
    });
  });

  test('a lost answer: the same for a create that a rival has built on', async () => {
    const { bucket, driver, byRival } = await setUp();
    await bucket.delete([key]);
    driver.faults.put = [{ when: 'after', meanwhile: () => byRival(5) }];
    await expect(createDocument(bucket, key, { count: 1 }, random)).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      retry: 'later',
    });
  });
});

describe('updating', () => {
  test('an absent document is undefined, and change is not asked', async () => {
    const { update, bucket } = await setUp();
    await bucket.delete([key]);
    const change = (): never => {
      throw new Error('asked');
    };
    expect(await update(change)).toBeUndefined();
  });

  test('"nothing to do" writes nothing and answers what is there', async () => {
    const { update, first, driver } = await setUp(3);
    expect(await update(() => undefined)).toEqual(first);
    expect(driver.calls).toEqual(['get']);
  });

  test('after a lost race the change is made again, on the newest value', async () => {
    const { update, driver, byRival } = await setUp(1);
    const get = driver.inner.get.bind(driver.inner);
    driver.inner.get = async (...args) => {
      const found = await get(...args);
      driver.inner.get = get;
      await byRival(10); // between our read and our replace
      return found;
    };
    const seen: number[] = [];
    const updated = await update(({ count }) => {
      seen.push(count);
      return { count: count + 1 };
    });
    expect(seen).toEqual([1, 10]);
    expect(updated).toMatchObject({ revision: 3, value: { count: 11 } });
  });

  test('many updaters at once lose no change', async () => {
    const { bucket, deps } = await setUp(0);
    const updaters = Array.from({ length: 10 }, () =>
      updateDocument(bucket, key, schema, random, deps.clock, ({ count }) => ({ count: count + 1 })),
    );
    await Promise.all(updaters);
    expect(await readDocument(bucket, key, schema)).toMatchObject({ revision: 11, value: { count: 10 } });
  });

  test('a document that others change at every turn is given up with EAGAIN, after waits that grow', async () => {
    const { update, clock, driver, rival } = await setUp(0);
    const get = driver.inner.get.bind(driver.inner);
    let rivalCount = 100;
    driver.inner.get = async (...args) => {
      const found = await get(...args);
      const envelope = { revision: rivalCount, writeId: `rival ${rivalCount++}`, value: { count: 0 } };
      await driver.inner.put(key, Buffer.from(JSON.stringify(envelope)), 'none');
      return found;
    };
    await expect(update(({ count }) => ({ count: count + 1 }))).rejects.toMatchObject({
      code: 'EAGAIN',
      retry: 'later',
    });
    expect(rival.counts().A).toBe(1);
    expect(clock.sleepsMs).toHaveLength(racesMax);
    expect(clock.sleepsMs[3]).toBeGreaterThan(clock.sleepsMs[0]!);
  });

  test('what change throws ends the update', async () => {
    const { update, driver } = await setUp();
    const change = (): never => {
      throw new RangeError('no such schedule');
    };
    await expect(update(change)).rejects.toThrow(RangeError);
    expect(driver.calls).toEqual(['get']);
  });
});
