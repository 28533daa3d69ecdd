import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { checkName, type Key, keyText, parseKey, prefixes } from '../../lib/bucket/keys.ts';
import { compareKeys, keyBytesMax } from '../../lib/bucket/rules.ts';

/** Names that RBD allows: no slash, at sign or control character. */
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((text) => /^[^/@\p{Cc}]+$/u.test(text) && text.isWellFormed() && Buffer.byteLength(text) <= 255);
const namespace = fc.oneof(fc.constant(''), name);
const id = fc.stringMatching(/^[0-9a-f-]{1,64}$/);
const count = fc.nat({ max: 999_999_999_999 });

const key: fc.Arbitrary<Key> = fc.oneof(
  fc.record({
    kind: fc.constantFrom(
      'site' as const,
      'schedules' as const,
      'config' as const,
      'heartbeat' as const,
      'housekeeping' as const,
    ),
  }),
  fc.record({ kind: fc.constant('probe' as const), id }),
  fc.record({
    kind: fc.constantFrom(
      'pool' as const,
      'pool-schedules' as const,
      'pool-config' as const,
      'catalog' as const,
      'feed-hint' as const,
    ),
    pool: name,
  }),
  fc.record({ kind: fc.constant('feed' as const), pool: name, seq: count }),
  fc.record({ kind: fc.constant('tombstone' as const), pool: name, globalId: id }),
  fc.record({ kind: fc.constant('peer' as const), pool: name, peerUuid: id }),
  fc.record({ kind: fc.constant('namespace' as const), pool: name, namespace: name }),
  fc.record({ kind: fc.constantFrom('name' as const, 'upload' as const), pool: name, namespace, image: name }),
  fc.record({
    kind: fc.constant('trash' as const),
    pool: name,
    source: fc.constantFrom('user' as const, 'mirroring' as const),
    dueSeconds: count,
    imageId: id,
    trashId: id,
    namespace,
  }),
  fc.record({ kind: fc.constant('status' as const), pool: name, globalId: id, peerUuid: id }),
  fc.record({ kind: fc.constant('failure' as const), id: fc.stringMatching(/^[0-9a-z-]{1,40}$/) }),
  fc.record({ kind: fc.constant('header' as const), imageId: id }),
  fc.record({ kind: fc.constant('pack' as const), imageId: id, packId: id }),
  fc.record({ kind: fc.constant('delta' as const), imageId: id, snapshotId: count, deltaId: id, step: count }),
  fc.record({ kind: fc.constant('sync-manifest' as const), imageId: id, syncId: id, step: count }),
  fc.record({ kind: fc.constant('sync-marker' as const), imageId: id, syncId: id, step: count, piece: count }),
  fc.record({ kind: fc.constant('collect' as const), imageId: id, run: id, step: count }),
);

describe('keys', () => {
  test('property: parseKey is the inverse of keyText', () => {
    fc.assert(
      fc.property(key, (value) => {
        expect(parseKey(keyText(value))).toEqual(value);
      }),
      { numRuns: 1_000 },
    );
  });

  test('property: two keys have one text only when they are one key', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        expect(keyText(a) === keyText(b)).toBe(
          JSON.stringify(parseKey(keyText(a))) === JSON.stringify(parseKey(keyText(b))),
        );
      }),
    );
  });

  test('property: parseKey never throws, and reads only what keyText writes', () => {
    const nearly = fc.tuple(key.map(keyText), fc.nat(), fc.string({ maxLength: 3 })).map(([text, at, extra]) => {
      const index = at % (text.length + 1);
      return text.slice(0, index) + extra + text.slice(index + extra.length);
    });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), nearly), (text) => {
        const parsed = parseKey(text);
        expect(parsed === undefined ? text : keyText(parsed)).toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    '',
    '/',
    'site.json/',
    'images//header.json',
    'images/x/header.json',
    'pools/%/pool.json',
    'pools/%zz/pool.json',
    'pools/a%2fb/pool.json',
    'pools/a/b/pool.json',
    'pools/../pool.json',
    'probe/',
    'probe/X',
  ])("'%s' is no key", (text) => expect(parseKey(text)).toBeUndefined());

  test('names that look like paths stay one segment', () => {
    const text = keyText({ kind: 'name', pool: '..', namespace: '', image: '.hidden %2F' });
    expect(text).toBe('pools/%2E%2E/names/_/%2Ehidden%20%252F.json');
  });

  test('the longest names of ASCII fit into a key', () => {
    const longest = 'n'.repeat(255);
    expect(
      Buffer.byteLength(keyText({ kind: 'name', pool: longest, namespace: longest, image: longest })),
    ).toBeLessThanOrEqual(keyBytesMax);
  });

  test('numbers in keys sort as numbers', () => {
    const texts = [9, 10, 100, 2].map((seq) => keyText({ kind: 'feed', pool: 'p', seq }));
    expect(texts.toSorted(compareKeys).map((text) => (parseKey(text) as { seq: number }).seq)).toEqual([2, 9, 10, 100]);
  });

  test('a prefix covers the keys below it', () => {
    expect(keyText({ kind: 'pack', imageId: 'a', packId: 'b' }).startsWith(prefixes.packs('a'))).toBe(true);
    expect(keyText({ kind: 'pack', imageId: 'ab', packId: 'b' }).startsWith(prefixes.image('a'))).toBe(false);
    expect(keyText({ kind: 'name', pool: 'p', namespace: '', image: 'i' }).startsWith(prefixes.names('p', ''))).toBe(
      true,
    );
  });

  test.each([
    ['slash', 'a/b'],
    ['at sign', 'a@b'],
    ['control character', 'a\nb'],
    ['nothing', ''],
    ['too many bytes', 'é'.repeat(128)],
  ])('a name with %s is refused', (_, text) =>
    expect(() => checkName('image', text)).toThrow(expect.objectContaining({ code: 'EINVAL' })),
  );
});

describe('order of keys', () => {
  test('property: compareKeys orders as the UTF-8 bytes do', () => {
    const text = fc.string({ unit: 'binary', maxLength: 8 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 1_000 },
    );
  });

  test('what lies beyond U+FFFF comes last, unlike in the order of JavaScript', () => {
    expect(compareKeys('\u{ffee}', '\u{1f4be}')).toBeLessThan(0);
    expect(['\u{ffee}', '\u{1f4be}'].toSorted()).toEqual(['\u{1f4be}', '\u{ffee}']);
  });
});
