// The one suite that every driver passes. A harness makes drivers over one shared empty bucket; each test uses keys of its
// own below a fresh prefix, so the tests may run over one bucket in any order.
//
// Races go through `Bucket`: a driver may answer a racing put with a passing fault, whose outcome `Bucket` then finds out
// (radosgw does so to losers).

import { randomBytes, randomUUID } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver, GetOutcome, ObjectMeta, PutOutcome } from '../../lib/bucket/driver.ts';
import { compareKeys } from '../../lib/bucket/rules.ts';
import { systemClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';

export type Harness = {
  /** Another driver over the same bucket, as another process or client would have. */
  open(): Driver;
  close(): Promise<void>;
};

const writerCount = 16;
const largeBytes = 16 * 1024 * 1024;
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function etagOf(outcome: PutOutcome): string {
  expect(outcome.status).toBe('stored');
  return (outcome as { etag: string }).etag;
}

function found(outcome: GetOutcome): { body: Uint8Array; meta: ObjectMeta } {
  expect(outcome.status).toBe('found');
  return outcome as { body: Uint8Array; meta: ObjectMeta };
}

const contentOf = (outcome: GetOutcome): string => new TextDecoder().decode(found(outcome).body);

async function listAll(
  driver: Driver,
  prefix: string,
  limit: number,
  after?: string,
): Promise<{ keys: string[]; pageCount: number }> {
  const keys: string[] = [];
  for (let pageCount = 1, last = after; ; pageCount++) {
    const page = await driver.list({ prefix, after: last, limit });
    expect(page.objects.length).toBeLessThanOrEqual(limit);
    keys.push(...page.objects.map((object) => object.key));
    if (!page.more) return { keys, pageCount };
    last = keys.at(-1)!;
  }
}

async function putMany(driver: Driver, keys: readonly string[]): Promise<void> {
  const batchLength = 50;
  for (let index = 0; index < keys.length; index += batchLength) {
    await Promise.all(keys.slice(index, index + batchLength).map((key) => driver.put(key, text(key), 'absent')));
  }
}

/** Keys that have tripped stores: spaces, percent escapes, quotes, other scripts, beyond U+FFFF, dots, empty segments, length. */
export const oddKeys = [
  'a b',
  'a+b',
  'a%20b',
  'a%2Fb',
  'a%',
  '%41',
  'a?b',
  'a#b',
  'a&b=c',
  "a'b",
  'a"b',
  'a\\b',
  'a~b',
  'a@',
  'a@b',
  'a+',
  'A',
  'é',
  'e\u0301',
  '文件',
  '\u{ffee}',
  '\u{1f4be}',
  '.hidden',
  'a/../b',
  'a/./b',
  'a//b',
  'a/',
  'd/e',
  'd',
  'd-e',
  'd0',
  'n'.repeat(79),
  'n'.repeat(80),
  'n'.repeat(81),
  `${'n'.repeat(80)}/x`,
  `${'n'.repeat(80)}-`,
  `${'n'.repeat(80)}0`,
  'n'.repeat(160),
  '長'.repeat(100),
  `${encodeURIComponent('長'.repeat(80))}.json`,
  'l'.repeat(900),
  `${'s/'.repeat(200)}end`,
];

export function describeBucket(name: string, makeHarness: () => Promise<Harness>): void {
  describe(`${name} driver`, () => {
    let harness: Harness;
    let driver: Driver;
    let freshCount = 0;
    const fresh = (): string => `t${String(freshCount++).padStart(4, '0')}`;
    const openBucket = (): Bucket => new Bucket(harness.open(), { clock: systemClock, random: systemRandom });

    beforeAll(async () => {
      harness = await makeHarness();
      driver = harness.open();
    });
    afterAll(() => harness.close());

    describe('get and head', () => {
      test('an absent key is absent to get, ranged get, conditional get and head', async () => {
        const key = `${fresh()}/none`;
        expect(await driver.get(key)).toEqual({ status: 'absent' });
        expect(await driver.get(key, { range: { offset: 0, length: 1 } })).toEqual({ status: 'absent' });
        expect(await driver.get(key, { ifMatch: '0123456789abcdef0123456789abcdef' })).toEqual({ status: 'absent' });
        expect(await driver.head(key)).toBeUndefined();
      });

      test('what is put is what every other client gets, with the same tag from put, get, head and list', async () => {
        const key = `${fresh()}/x`;
        const etag = etagOf(await driver.put(key, text('hello'), 'absent'));
        const other = harness.open();
        const { body, meta } = found(await other.get(key));
        expect(body).toEqual(text('hello'));
        expect(meta).toMatchObject({ key, bytes: 5, etag });
        expect(await other.head(key)).toEqual(meta);
        expect(await other.list({ prefix: key, limit: 10 })).toEqual({ objects: [meta], more: false });
      });

      test('the time of upload is near the present', async () => {
        const key = `${fresh()}/x`;
        await driver.put(key, text('hello'), 'absent');
        expect(Math.abs((await driver.head(key))!.uploadedAtMs - Date.now())).toBeLessThan(60_000);
      });

      test('an object may be empty', async () => {
        const key = `${fresh()}/empty`;
        const etag = etagOf(await driver.put(key, new Uint8Array(), 'absent'));
        const { body, meta } = found(await driver.get(key));
        expect(body).toHaveLength(0);
        expect(meta).toMatchObject({ bytes: 0, etag });
        expect(found(await driver.get(key, { range: { offset: 0, length: 10 } })).body).toHaveLength(0);
      });

      test('a large object comes back byte for byte, whole and by a range', async () => {
        const key = `${fresh()}/large`;
        const body = randomBytes(largeBytes);
        await driver.put(key, body, 'absent');
        expect(Buffer.compare(found(await driver.get(key)).body, body)).toBe(0);
        const range = { offset: 5_000_001, length: 3_000_003 };
        const part = found(await driver.get(key, { range }));
        expect(Buffer.compare(part.body, body.subarray(range.offset, range.offset + range.length))).toBe(0);
        expect(part.meta.bytes).toBe(largeBytes);
      });

      test.each([
        { offset: 0, length: 10, expected: '0123456789' },
        { offset: 0, length: 1, expected: '0' },
        { offset: 9, length: 1, expected: '9' },
        { offset: 3, length: 4, expected: '3456' },
        { offset: 8, length: 100, expected: '89' },
        { offset: 0, length: 2 ** 40, expected: '0123456789' },
        { offset: 10, length: 1, expected: '' },
        { offset: 1_000_000, length: 5, expected: '' },
        { offset: 5, length: 0, expected: '' },
      ])('a range of $length from $offset of ten bytes is "$expected"', async ({ offset, length, expected }) => {
        const key = `${fresh()}/ten`;
        const etag = etagOf(await driver.put(key, text('0123456789'), 'absent'));
        const outcome = await driver.get(key, { range: { offset, length } });
        expect(contentOf(outcome)).toBe(expected);
        expect(found(outcome).meta).toMatchObject({ key, bytes: 10, etag });
        expect(contentOf(await driver.get(key, { range: { offset, length }, ifMatch: etag }))).toBe(expected);
      });

      test('ifMatch answers "changed" once the object is another, also for a range and for one past the end', async () => {
        const key = `${fresh()}/x`;
        const etag = etagOf(await driver.put(key, text('one'), 'absent'));
        expect(contentOf(await driver.get(key, { ifMatch: etag }))).toBe('one');
        await driver.put(key, text('two'), { etag });
        expect(await driver.get(key, { ifMatch: etag })).toEqual({ status: 'changed' });
        expect(await driver.get(key, { ifMatch: etag, range: { offset: 1, length: 1 } })).toEqual({
          status: 'changed',
        });
        expect(await driver.get(key, { ifMatch: etag, range: { offset: 9, length: 1 } })).toEqual({
          status: 'changed',
        });
        expect(await driver.get(key, { ifMatch: etag, range: { offset: 1, length: 0 } })).toEqual({
          status: 'changed',
        });
      });
    });

    describe('put', () => {
      test('create: a second one is refused and changes nothing', async () => {
        const key = `${fresh()}/x`;
        const etag = etagOf(await driver.put(key, text('first'), 'absent'));
        expect(await driver.put(key, text('second'), 'absent')).toEqual({ status: 'refused' });
        expect(await driver.put(key, text('first'), 'absent')).toEqual({ status: 'refused' });
        expect(contentOf(await driver.get(key))).toBe('first');
        expect((await driver.head(key))!.etag).toBe(etag);
      });

      test('replace: succeeds by the newest tag and is refused by any older one', async () => {
        const key = `${fresh()}/x`;
        const first = etagOf(await driver.put(key, text('first'), 'absent'));
        const second = etagOf(await driver.put(key, text('second'), { etag: first }));
        expect(second).not.toBe(first);
        expect(await driver.put(key, text('third'), { etag: first })).toEqual({ status: 'refused' });
        expect(contentOf(await driver.get(key))).toBe('second');
        const third = etagOf(await driver.put(key, text('a third, longer one'), { etag: second }));
        expect(contentOf(await driver.get(key, { ifMatch: third }))).toBe('a third, longer one');
      });

      test('replace: is refused on an absent and on a deleted key', async () => {
        const key = `${fresh()}/x`;
        const etag = etagOf(await driver.put(key, text('first'), 'absent'));
        expect(await driver.put(`${key}-none`, text('x'), { etag })).toEqual({ status: 'refused' });
        await driver.delete([key]);
        expect(await driver.put(key, text('second'), { etag })).toEqual({ status: 'refused' });
        expect(await driver.get(key)).toEqual({ status: 'absent' });
      });

      test('every change of content changes the tag', async () => {
        const key = `${fresh()}/x`;
        const etags = [etagOf(await driver.put(key, text('0'), 'absent'))];
        for (let index = 1; index <= 20; index++)
          etags.push(etagOf(await driver.put(key, text(String(index)), { etag: etags.at(-1)! })));
        expect(new Set(etags).size).toBe(etags.length);
      });

      test('without a condition it writes over what is there', async () => {
        const key = `${fresh()}/deep/x`;
        await driver.put(key, text('first'), 'none');
        await driver.put(key, text('second'), 'none');
        expect(contentOf(await driver.get(key))).toBe('second');
      });

      test('a deleted key may be created again', async () => {
        const key = `${fresh()}/x`;
        const etag = etagOf(await driver.put(key, text('first'), 'absent'));
        await driver.delete([key]);
        await driver.put(key, text('second'), 'absent');
        expect(contentOf(await driver.get(key))).toBe('second');
        expect(await driver.put(key, text('third'), { etag })).toEqual({ status: 'refused' });
      });

      test('create: of racing writers exactly one wins, and its bytes are there', async () => {
        for (let round = 0; round < 4; round++) {
          const key = `${fresh()}/race`;
          const bodies = Array.from({ length: writerCount }, (_, index) => `writer ${index}`);
          const outcomes = await Promise.all(bodies.map((body) => openBucket().create(key, text(body))));
          const winners = bodies.filter((_, index) => outcomes[index]!.created);
          expect(winners).toHaveLength(1);
          expect(contentOf(await driver.get(key))).toBe(winners[0]);
        }
      });

      test('replace: of racing writers exactly one wins each version, and none is lost', async () => {
        const key = `${fresh()}/race`;
        let etag = etagOf(await driver.put(key, text('start'), 'absent'));
        for (let round = 0; round < 4; round++) {
          const bodies = Array.from({ length: writerCount }, (_, index) => `round ${round} writer ${index}`);
          const outcomes = await Promise.all(bodies.map((body) => openBucket().replace(key, text(body), etag)));
          const winners = bodies.filter((_, index) => outcomes[index]!.replaced);
          expect(winners).toHaveLength(1);
          expect(contentOf(await driver.get(key))).toBe(winners[0]);
          etag = outcomes.find((outcome) => outcome.replaced)!.etag;
        }
      });

      test('counting by compare-and-swap from many writers loses no count', async () => {
        const key = `${fresh()}/counter`;
        await driver.put(key, text('0'), 'absent');
        const increment = async (own: Bucket, writer: number): Promise<void> => {
          for (;;) {
            const { body, meta } = found(await own.get(key));
            const next = Number.parseInt(new TextDecoder().decode(body), 10) + 1;
            // The writer's number makes the bytes of every version its own, as `Bucket.replace` asks.
            if ((await own.replace(key, text(`${next} by ${writer}`), meta.etag)).replaced) return;
          }
        };
        await Promise.all(
          Array.from({ length: 8 }, async (_, writer) => {
            const own = openBucket();
            for (let index = 0; index < 3; index++) await increment(own, writer);
          }),
        );
        expect(contentOf(await driver.get(key))).toMatch(/^24 by/);
      });

      test('readers beside a writer see whole versions only', async () => {
        const key = `${fresh()}/versions`;
        const version = (index: number): Uint8Array => new Uint8Array(300_000 + index).fill(index);
        let etag = etagOf(await driver.put(key, version(0), 'absent'));
        let isWriting = true;
        const reader = async (): Promise<number> => {
          for (let count = 0; ; count++) {
            const { body } = found(await driver.get(key));
            expect(body.length).toBe(300_000 + body[0]!);
            expect(body.every((byte) => byte === body[0])).toBe(true);
            if (!isWriting) return count;
          }
        };
        const reading = reader();
        for (let index = 1; index <= 20; index++) etag = etagOf(await driver.put(key, version(index), { etag }));
        isWriting = false;
        expect(await reading).toBeGreaterThanOrEqual(0);
      });
    });

    describe('delete', () => {
      test('takes absent keys and no keys, and may be repeated', async () => {
        const prefix = fresh();
        await driver.put(`${prefix}/x`, text('x'), 'absent');
        await driver.delete([`${prefix}/x`, `${prefix}/none`]);
        await driver.delete([`${prefix}/x`]);
        await driver.delete([]);
        expect(await driver.head(`${prefix}/x`)).toBeUndefined();
      });

      test('removes the named keys and their like-named neighbours stay', async () => {
        const prefix = fresh();
        await putMany(driver, [`${prefix}/a`, `${prefix}/a/b`, `${prefix}/a/c`, `${prefix}/ab`]);
        await driver.delete([`${prefix}/a`, `${prefix}/a/b`]);
        expect((await listAll(driver, `${prefix}/`, 10)).keys).toEqual([`${prefix}/a/c`, `${prefix}/ab`]);
      });
    });

    describe('list', () => {
      const many = 1_020;

      test('pages through more keys than one page holds, in order, from any key on; then 1,000 go in one delete', async () => {
        const prefix = `${fresh()}/`;
        const keys = Array.from({ length: many }, (_, index) => `${prefix}${String(index * 7).padStart(6, '0')}`);
        await putMany(driver, keys);
        const all = await listAll(driver, prefix, 1000);
        expect(all.keys).toEqual(keys);
        expect(all.pageCount).toBeGreaterThan(1);
        expect((await listAll(driver, prefix, 400, keys[99])).keys).toEqual(keys.slice(100));
        await driver.delete(keys.slice(0, 1000));
        expect((await listAll(driver, prefix, 1000)).keys).toEqual(keys.slice(1000));
      });

      test('begins after a key that need not exist', async () => {
        const prefix = `${fresh()}/`;
        await putMany(driver, [`${prefix}a`, `${prefix}c/d`, `${prefix}e`]);
        expect((await listAll(driver, prefix, 10, `${prefix}b`)).keys).toEqual([`${prefix}c/d`, `${prefix}e`]);
        expect((await listAll(driver, prefix, 10, `${prefix}c/d`)).keys).toEqual([`${prefix}e`]);
        expect((await listAll(driver, prefix, 10, `${prefix}c`)).keys).toEqual([`${prefix}c/d`, `${prefix}e`]);
        expect((await listAll(driver, prefix, 10, `${prefix}z`)).keys).toEqual([]);
        expect((await listAll(driver, prefix, 10, '!')).keys).toHaveLength(3);
      });

      test('says that there is more exactly when there is', async () => {
        const prefix = `${fresh()}/`;
        await putMany(driver, [`${prefix}a/1`, `${prefix}a/2`, `${prefix}b`]);
        expect(await driver.list({ prefix, limit: 3 })).toMatchObject({ more: false });
        expect(await driver.list({ prefix, limit: 2 })).toMatchObject({ more: true });
        expect(await driver.list({ prefix: `${prefix}a`, limit: 2 })).toMatchObject({ more: false });
      });

      test('a prefix may end anywhere in a key', async () => {
        const prefix = fresh();
        await putMany(driver, [`${prefix}/ab/c`, `${prefix}/ab`, `${prefix}/abd`, `${prefix}/b`]);
        expect((await listAll(driver, `${prefix}/a`, 10)).keys).toEqual([
          `${prefix}/ab`,
          `${prefix}/ab/c`,
          `${prefix}/abd`,
        ]);
        expect((await listAll(driver, `${prefix}/ab/`, 10)).keys).toEqual([`${prefix}/ab/c`]);
        expect((await listAll(driver, `${prefix}/ab/c`, 10)).keys).toEqual([`${prefix}/ab/c`]);
        expect((await listAll(driver, `${prefix}/ab/cd`, 10)).keys).toEqual([]);
        expect((await listAll(driver, `${prefix}/none/`, 10)).keys).toEqual([]);
      });

      test('a key listed once stays listed and a deleted one does not come back while others come and go', async () => {
        const prefix = `${fresh()}/`;
        await putMany(driver, [`${prefix}m/stay`]);
        const churn = async (): Promise<void> => {
          for (let index = 0; index < 15; index++) {
            const key = `${prefix}m/${randomUUID().slice(0, 2)}/${index}`;
            await driver.put(key, text('x'), 'absent');
            await driver.delete([key]);
          }
        };
        const watch = async (): Promise<void> => {
          for (let index = 0; index < 15; index++)
            expect((await listAll(driver, prefix, 100)).keys).toContain(`${prefix}m/stay`);
        };
        await Promise.all([churn(), churn(), watch()]);
        expect((await listAll(driver, prefix, 100)).keys).toEqual([`${prefix}m/stay`]);
      });
    });

    describe('odd keys', () => {
      test('are stored, listed in UTF-8 order, paged and deleted like any others', async () => {
        const prefix = `${fresh()}/`;
        const keys = oddKeys.map((key) => prefix + key);
        await putMany(driver, keys);
        for (const key of keys) expect(contentOf(await driver.get(key))).toBe(key);
        const sorted = keys.toSorted(compareKeys);
        expect((await listAll(driver, prefix, 1000)).keys).toEqual(sorted);
        expect((await listAll(driver, prefix, 3)).keys).toEqual(sorted);
        expect((await listAll(driver, prefix, 1000, sorted[10])).keys).toEqual(sorted.slice(11));
        await driver.delete(keys);
        expect((await listAll(driver, prefix, 1000)).keys).toEqual([]);
      });

      test('a key may have 1,024 bytes and no more; an empty or broken one is refused', async () => {
        const prefix = fresh();
        const longest = `${prefix}/${'k'.repeat(1024 - prefix.length - 1)}`;
        await driver.put(longest, text('x'), 'absent');
        expect(contentOf(await driver.get(longest))).toBe('x');
        for (const wrong of [`${longest}k`, '', 'a\ud800b']) {
          await expect(driver.put(wrong, text('x'), 'absent')).rejects.toMatchObject({
            code: 'EINVAL',
            retry: 'never',
          });
          await expect(driver.get(wrong)).rejects.toMatchObject({ code: 'EINVAL' });
          await expect(driver.head(wrong)).rejects.toMatchObject({ code: 'EINVAL' });
        }
      });
    });

    test('a range or a limit that is no count is refused', async () => {
      const key = `${fresh()}/x`;
      await driver.put(key, text('x'), 'absent');
      await expect(driver.get(key, { range: { offset: -1, length: 1 } })).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(driver.get(key, { range: { offset: 0, length: 1.5 } })).rejects.toMatchObject({ code: 'EINVAL' });
      await expect(driver.list({ prefix: '', limit: 0 })).rejects.toMatchObject({ code: 'EINVAL' });
    });
  });
}
