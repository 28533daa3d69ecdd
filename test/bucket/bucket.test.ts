import { describe, expect, test } from 'vitest';

import { type Bucket, type RequestCounts, retriesMax } from '../../lib/bucket/bucket.ts';
import type { Driver, Etag, ListPage, ObjectMeta } from '../../lib/bucket/driver.ts';
import { makeBucket } from './faults.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);
async function keysOf(objects: AsyncIterable<ObjectMeta>): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of objects) keys.push(object.key);
  return keys;
}
const many = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

async function createdEtag(bucket: Bucket, key: string, text: string): Promise<Etag> {
  const outcome = await bucket.create(key, bytes(text));
  expect(outcome.created).toBe(true);
  return (outcome as { etag: Etag }).etag;
}

async function textOf(bucket: Bucket, key: string): Promise<string> {
  const found = await bucket.get(key);
  expect(found.status).toBe('found');
  return Buffer.from((found as { body: Uint8Array }).body).toString();
}

describe('create', () => {
  test('a first one wins and a second one loses, plainly', async () => {
    const { bucket } = makeBucket();
    await createdEtag(bucket, 'k', 'ours');
    expect(await bucket.create('k', bytes('other'))).toEqual({ created: false });
    expect(await bucket.create('k', bytes('ours'))).toEqual({ created: false });
  });

  test('a timeout before the effect is repeated', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = [{ when: 'before' }];
    await createdEtag(bucket, 'k', 'ours');
    expect(driver.calls).toEqual(['put', 'put']);
  });

  test('a timeout that landed is recognised as ours by its bytes', async () => {
    const { bucket, driver, rival } = makeBucket();
    driver.faults.put = [{ when: 'after' }];
    const etag = await createdEtag(bucket, 'k', 'ours');
    expect((await rival.head('k'))!.etag).toBe(etag);
    expect(driver.calls).toEqual(['put', 'put', 'get']);
  });

  test('a timeout after which another has the key is a loss, marked as one after an unclear attempt', async () => {
    const { bucket, driver, rival } = makeBucket();
    await createdEtag(rival, 'k', 'theirs');
    driver.faults.put = [{ when: 'before' }];
    expect(await bucket.create('k', bytes('ours'))).toEqual({ created: false, unclear: true });
    expect(await textOf(bucket, 'k')).toBe('theirs');
  });

  test('when the read-back fails, the outcome stays unclear and is said to', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = [{ when: 'after' }];
    driver.faults.get = many(retriesMax + 1, { when: 'before' });
    await expect(bucket.create('k', bytes('ours'))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      retry: 'later',
      message: expect.stringContaining('unclear'),
    });
  });

  test('when the object is gone by the time it is read back, the outcome stays unclear', async () => {
    const { bucket, driver, rival } = makeBucket();
    driver.faults.put = [{ when: 'after' }, undefined];
    driver.faults.get = [{ when: 'before', meanwhile: () => rival.delete(['k']) }];
    await expect(bucket.create('k', bytes('ours'))).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringContaining('unclear'),
    });
  });

  test('a read-back that needs repeats itself still settles it', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = [{ when: 'after' }];
    driver.faults.get = many(retriesMax, { when: 'before' });
    await createdEtag(bucket, 'k', 'ours');
  });
});

describe('replace', () => {
  test('wins by the newest tag and loses by an old one, plainly', async () => {
    const { bucket } = makeBucket();
    const etag = await createdEtag(bucket, 'k', 'one');
    expect(await bucket.replace('k', bytes('two'), etag)).toMatchObject({ replaced: true });
    expect(await bucket.replace('k', bytes('three'), etag)).toEqual({ replaced: false });
    expect(await bucket.replace('absent', bytes('x'), etag)).toEqual({ replaced: false });
  });

  test('a timeout that landed is recognised as ours and answers the tag of our version', async () => {
    const { bucket, driver, rival } = makeBucket();
    const etag = await createdEtag(bucket, 'k', 'one');
    driver.faults.put = [{ when: 'after' }];
    const outcome = await bucket.replace('k', bytes('ours'), etag);
    expect(outcome).toEqual({ replaced: true, etag: (await rival.head('k'))!.etag });
  });

  test('a timeout after which another version is there is a loss', async () => {
    const { bucket, driver, rival } = makeBucket();
    const etag = await createdEtag(bucket, 'k', 'one');
    await rival.replace('k', bytes('theirs'), etag);
    driver.faults.put = [{ when: 'before' }];
    expect(await bucket.replace('k', bytes('ours'), etag)).toEqual({ replaced: false, unclear: true });
  });

  test('when the read-back fails, the outcome stays unclear and is said to', async () => {
    const { bucket, driver } = makeBucket();
    const etag = await createdEtag(bucket, 'k', 'one');
    driver.faults.put = [{ when: 'after' }];
    driver.faults.get = [{ when: 'before', retry: 'never' }];
    await expect(bucket.replace('k', bytes('ours'), etag)).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
  });
});

describe('repeats', () => {
  test('every method repeats passing faults, and gives up with the last one after the limit', async () => {
    const calls: Array<
      [keyof Driver & ('get' | 'head' | 'put' | 'delete' | 'list'), (bucket: Bucket) => Promise<unknown>]
    > = [
      ['get', (bucket) => bucket.get('k')],
      ['head', (bucket) => bucket.head('k')],
      ['put', (bucket) => bucket.create('k', bytes('x'))],
      ['delete', (bucket) => bucket.delete(['k'])],
      ['list', (bucket) => bucket.list({ prefix: '', limit: 1 })],
    ];
    for (const [method, call] of calls) {
      const passing = makeBucket();
      passing.driver.faults[method] = many(retriesMax, { when: 'before' });
      await call(passing.bucket);
      expect(passing.driver.calls).toEqual(many(retriesMax + 1, method));
      const lasting = makeBucket();
      lasting.driver.faults[method] = many(100, { when: 'before' });
      await expect(call(lasting.bucket)).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
      expect(lasting.driver.calls).toHaveLength(retriesMax + 1);
    }
  });

  test('waits grow, are jittered, and are about a second at first; races wait less', async () => {
    const slow = makeBucket();
    slow.driver.faults.get = many(retriesMax, { when: 'before' });
    await slow.bucket.get('k');
    expect(slow.clock.sleepsMs).toEqual([375, 750, 1500, 3000, 6000]);
    const fast = makeBucket();
    fast.driver.faults.put = [{ when: 'before', retry: 'now' }];
    await fast.bucket.create('k', bytes('x'));
    expect(fast.clock.sleepsMs).toEqual([15]);
  });

  test('a lasting fault and a bug are not repeated', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.get = [{ when: 'before', retry: 'never' }];
    await expect(bucket.get('k')).rejects.toMatchObject({ retry: 'never' });
    driver.head = async () => {
      throw new RangeError('bug');
    };
    await expect(bucket.head('k')).rejects.toThrow(RangeError);
    expect(driver.calls).toEqual(['get']);
  });
});

describe('counts', () => {
  const none: RequestCounts = { A: 0, B: 0, free: 0, bytesIn: 0, bytesOut: 0 };

  test('each request counts in its price class, with the bytes it moves', async () => {
    const { bucket } = makeBucket();
    expect(bucket.counts()).toEqual(none);
    const etag = await createdEtag(bucket, 'k', '12345');
    expect(bucket.counts()).toEqual({ ...none, A: 1, bytesOut: 5 });
    await bucket.replace('k', bytes('1234567'), etag);
    await bucket.get('k');
    await bucket.get('k', { range: { offset: 2, length: 3 } });
    await bucket.head('k');
    await bucket.list({ prefix: '', limit: 1 });
    await bucket.delete(['k']);
    expect(bucket.counts()).toEqual({ A: 3, B: 3, free: 1, bytesIn: 10, bytesOut: 12 });
  });

  test('repeats, refusals and read-backs count', async () => {
    const { bucket, driver } = makeBucket();
    driver.faults.put = [{ when: 'before' }, { when: 'after' }];
    await createdEtag(bucket, 'k', '12345');
    expect(bucket.counts()).toEqual({ A: 3, B: 1, free: 0, bytesIn: 5, bytesOut: 15 });
  });

  test('what is handed out is a copy', () => {
    const { bucket } = makeBucket();
    bucket.counts().A = 99;
    expect(bucket.counts()).toEqual(none);
  });
});

describe('batches and pages', () => {
  test('delete takes any number of keys, 1,000 at a time', async () => {
    const { bucket, driver, rival } = makeBucket();
    const keys = Array.from({ length: 2_001 }, (_, index) => `k/${String(index).padStart(5, '0')}`);
    for (const key of keys) await rival.create(key, bytes('x'));
    await bucket.delete(keys);
    expect(driver.calls).toEqual(['delete', 'delete', 'delete']);
    expect((await rival.list({ prefix: 'k/', limit: 1 })).objects).toEqual([]);
    await bucket.delete([]);
    expect(driver.calls).toHaveLength(3);
  });

  test('listAll goes through all pages, from any key on', async () => {
    const { bucket, driver, rival } = makeBucket();
    const keys = Array.from({ length: 2_001 }, (_, index) => `k/${String(index).padStart(5, '0')}`);
    for (const key of keys) await rival.create(key, bytes('x'));
    expect(await keysOf(bucket.listAll('k/'))).toEqual(keys);
    expect(driver.calls).toHaveLength(3);
    expect(await keysOf(bucket.listAll('k/', keys[1_990]))).toEqual(keys.slice(1_991));
  });

  test('listAll does not go round for ever with a store that says "more" and sends nothing', async () => {
    const { bucket, driver } = makeBucket();
    driver.list = async (): Promise<ListPage> => ({ objects: [], more: true });
    await expect(keysOf(bucket.listAll(''))).rejects.toMatchObject({ code: 'EIO' });
  });

  test('a key that no store takes is refused before a request is sent', async () => {
    const { bucket, driver } = makeBucket();
    await expect(bucket.create('', bytes('x'))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(bucket.get('k'.repeat(1025))).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(bucket.delete(['fine', '\ud800'])).rejects.toMatchObject({ code: 'EINVAL' });
    expect(driver.calls).toEqual([]);
  });
});
