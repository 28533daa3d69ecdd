import { describe, expect, test } from 'vitest';

import { featureBits, featuresDefault, newImageFeatures, parseFeatureList } from '../../lib/image/features.ts';
import {
  sharedFeatures,
  sortedFeatures,
  updatedFeatures,
  withJournaling,
  withoutJournaling,
  withDataPool,
} from '../../lib/image/features.ts';

const lock = 'exclusive-lock';
const full = [...featuresDefault];

/** Every set of these. */
const subsets = (names: readonly string[]): string[][] =>
  Array.from({ length: 2 ** names.length }, (_, mask) => names.filter((_name, bit) => (mask & (1 << bit)) !== 0));

describe('lists', () => {
  test('names or their sum, in the order of their bits', () => {
    expect(parseFeatureList('exclusive-lock,layering')).toEqual(['layering', lock]);
    expect(parseFeatureList('61')).toEqual(full);
    expect(featureBits(full)).toBe(61);
    expect([parseFeatureList('teleport'), parseFeatureList(''), parseFeatureList('2048')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(() => sortedFeatures(['teleport'])).toThrow("unknown image feature 'teleport'");
  });
});

describe('new images', () => {
  test.each([
    [['fast-diff', lock], 'cannot use fast diff without object map'],
    [['object-map'], 'cannot use object map without exclusive lock'],
    [['journaling'], 'cannot use journaling without exclusive lock'],
    [['operations'], 'cannot use internally controlled features'],
    [['non-primary'], 'cannot use internally controlled features'],
  ])('%s: %s', (asked, why) => {
    expect(() => newImageFeatures(asked)).toThrow(expect.objectContaining({ code: 'EINVAL', message: why }));
  });

  test('journaling with the lock that it needs', () => {
    expect(newImageFeatures([lock, 'journaling'])).toEqual([lock, 'journaling']);
  });

  test('data-pool follows from the data pool, striping from nothing', () => {
    expect(newImageFeatures(['layering', 'data-pool', 'striping'])).toEqual(['layering']);
    expect(newImageFeatures(['layering'], 'data')).toEqual(['layering', 'data-pool']);
    expect(withDataPool(['layering', 'data-pool'], undefined)).toEqual(['layering']);
  });

  test('shared images have no features of a single client', () => {
    expect(sharedFeatures(full)).toEqual(['layering', 'deep-flatten']);
  });
});

describe('enable and disable', () => {
  const none = ['layering'];

  test.each([
    ['enable', full, [], 'update requires at least one feature'],
    ['enable', none, ['layering'], 'cannot update immutable features'],
    ['enable', none, ['deep-flatten'], 'cannot update immutable features'],
    ['disable', none, ['layering'], 'cannot update immutable features'],
    ['disable', none, ['non-primary'], 'cannot update immutable features'],
    ['enable', full, [lock], 'one or more requested features are already enabled'],
    ['disable', none, [lock], 'one or more requested features are already disabled'],
    ['enable', none, ['object-map'], 'exclusive-lock must be enabled before enabling object-map'],
    ['enable', none, ['fast-diff'], 'exclusive-lock must be enabled before enabling object-map'],
    ['enable', none, ['journaling'], 'exclusive-lock must be enabled before enabling journaling'],
    ['disable', full, [lock], 'object-map or journaling must be disabled before disabling exclusive-lock'],
  ] as const)('%s, %s: %s is refused: %s', (action, current, asked, why) => {
    expect(() => updatedFeatures(current, asked, action)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => updatedFeatures(current, asked, action)).toThrow(why);
  });

  test.each([
    ['enable', none, [lock, 'object-map'], ['layering', lock, 'object-map', 'fast-diff']],
    ['enable', ['layering', lock], ['fast-diff'], ['layering', lock, 'object-map', 'fast-diff']],
    ['disable', full, ['fast-diff'], ['layering', lock, 'deep-flatten']],
    ['disable', full, ['object-map', lock], ['layering', 'deep-flatten']],
    ['disable', full, ['deep-flatten'], ['layering', lock, 'object-map', 'fast-diff']],
  ] as const)('%s, %s: %s gives %s', (action, current, asked, after) => {
    expect(updatedFeatures(current, asked, action)).toEqual(after);
  });

  test('journaling is enabled and disabled like the others, and turned on with its lock by mirroring', () => {
    expect(updatedFeatures(full, ['journaling'], 'enable')).toEqual([...full, 'journaling']);
    expect(updatedFeatures([...full, 'journaling'], ['journaling'], 'disable')).toEqual(full);
    expect(withJournaling(['layering'])).toEqual(['layering', lock, 'journaling']);
    expect(withoutJournaling(['layering', lock, 'journaling'])).toEqual(['layering', lock]);
  });

  test('whatever is allowed leaves a set that a new image could have', () => {
    const names = [lock, 'object-map', 'fast-diff', 'deep-flatten'];
    let allowed = 0;
    for (const current of subsets(names).filter((set) => isSound(set)))
      for (const asked of subsets(names))
        for (const action of ['enable', 'disable'] as const) {
          const after = attempt(() => updatedFeatures(current, asked, action));
          if (!after) continue;
          allowed += 1;
          expect(isSound(after)).toBe(true);
          expect(asked.every((name) => after.some((one) => one === name) === (action === 'enable'))).toBe(true);
        }
    expect(allowed).toBeGreaterThan(20);
  });
});

const attempt = <T>(work: () => T): T | undefined => {
  try {
    return work();
  } catch {
    return undefined;
  }
};
const isSound = (features: readonly string[]): boolean =>
  attempt(() => newImageFeatures(features)) !== undefined &&
  features.includes('object-map') === features.includes('fast-diff');
