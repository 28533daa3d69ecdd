import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import {
  formatBytes,
  formatSpec,
  objectBytesMax,
  objectBytesMin,
  parseImageSpec,
  parseObjectBytes,
  parsePoolSpec,
  parseSizeBytes,
  resolveImageSpec,
  resolveLevel,
  resolvePoolSpec,
} from '../../lib/cli/parse/grammar.ts';

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !/[/@]/.test(text));
const spec = fc.record({
  pool: name,
  namespace: fc.option(name, { nil: '' }),
  image: name,
  snap: fc.option(name, { nil: undefined }),
});
const einval = (words: RegExp) =>
  expect.objectContaining({ code: 'EINVAL', message: expect.stringMatching(words) as string }) as Error;

function outcome(parse: () => unknown): unknown {
  try {
    parse();
    return 'parsed';
  } catch (error) {
    return error instanceof FarsideError ? error.code : error;
  }
}

describe('image specs', () => {
  test('a formatted spec is parsed back', () => {
    fc.assert(
      fc.property(spec, (parts) => {
        expect(resolveImageSpec(formatSpec(parts), {})).toEqual(JSON.parse(JSON.stringify(parts)));
      }),
    );
  });

  test('options name the same image as the spec that says it', () => {
    fc.assert(
      fc.property(spec, (parts) => {
        expect(resolveImageSpec(undefined, parts)).toEqual(resolveImageSpec(formatSpec(parts), {}));
      }),
    );
  });

  test('a part that option and spec both name must be the same', () => {
    fc.assert(
      fc.property(spec, name, (parts, other) => {
        fc.pre(other !== parts.pool);
        expect(resolveImageSpec(formatSpec(parts), { pool: parts.pool })).toEqual(
          resolveImageSpec(formatSpec(parts), {}),
        );
        expect(() => resolveImageSpec(formatSpec(parts), { pool: other })).toThrow(einval(/^pool is specified twice/));
      }),
    );
  });

  test('any text is a spec or a failure that rbd has for it, never another', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(['parsed', 'EINVAL']).toContain(outcome(() => parseImageSpec(text)));
        expect(['parsed', 'ENOENT']).toContain(outcome(() => parsePoolSpec(text)));
      }),
    );
  });

  test.each(['', '/', 'a/', '/a', 'a//b', 'a/b/c/d', 'a@', '@a', 'a@b@c', 'a@b/c'])("'%s' is no image spec", (text) => {
    expect(() => parseImageSpec(text)).toThrow(einval(/^invalid spec/));
  });

  test('the pool is rbd unless something else is said', () => {
    expect(resolveImageSpec('vm-1', {})).toEqual({ pool: 'rbd', namespace: '', image: 'vm-1' });
    expect(resolvePoolSpec(undefined, {})).toEqual({ pool: 'rbd', namespace: '' });
    expect(resolvePoolSpec('p/ns', {})).toEqual({ pool: 'p', namespace: 'ns' });
  });

  test('without an image the message is that of rbd', () => {
    expect(() => resolveImageSpec(undefined, { pool: 'p' })).toThrow(einval(/^image name was not specified$/));
  });
});

describe('levels of schedules', () => {
  test('nothing named is the whole site', () => {
    expect(resolveLevel({})).toEqual({});
  });

  test('pool, namespace and image narrow it', () => {
    expect(resolveLevel({ pool: 'p' })).toEqual({ pool: 'p' });
    expect(resolveLevel({ pool: 'p', namespace: 'n' })).toEqual({ pool: 'p', namespace: 'n' });
    expect(resolveLevel({ pool: 'p', image: 'i' })).toEqual({ pool: 'p', image: 'i' });
    expect(resolveLevel({ image: 'p/n/i' })).toEqual({ pool: 'p', namespace: 'n', image: 'i' });
    expect(resolveLevel({ image: 'i' })).toEqual({ pool: 'rbd', image: 'i' });
  });

  test('a pool or namespace is named once', () => {
    const both = { pool: 'p', image: 'p/i' };
    expect(() => resolveLevel(both)).toThrow(einval(/^pool is specified both via pool and image options$/));
    const twice = { namespace: 'n', image: 'p/n/i' };
    expect(() => resolveLevel(twice)).toThrow(einval(/^namespace is specified both via namespace and image options$/));
  });
});

describe('sizes', () => {
  test.each([
    ['0', 0],
    ['512', 512 * 2 ** 20],
    ['512M', 512 * 2 ** 20],
    ['10G', 10 * 2 ** 30],
    ['16t', 16 * 2 ** 40],
    ['4096B', 4096],
    ['64K', 65536],
  ])('--size %s', (text, bytes) => {
    expect(parseSizeBytes(text)).toBe(bytes);
  });

  test.each(['', '-1', '1.5G', 'G', '10X', '1e3', '99999999999999999999', '9999999P', ' 1G'])(
    "--size '%s' is refused as rbd does",
    (text) => {
      expect(() => parseSizeBytes(text)).toThrow("the argument for option '--size' is invalid");
    },
  );

  test('object sizes are the powers of two within the limits', () => {
    for (let bytes = objectBytesMin; bytes <= objectBytesMax; bytes *= 2)
      expect(parseObjectBytes(`${bytes}B`)).toBe(bytes);
    expect(parseObjectBytes('4M')).toBe(4 * 2 ** 20);
    for (const text of ['2K', '64M', '3M', '0'])
      expect(() => parseObjectBytes(text)).toThrow(einval(/power of two between 4 KiB and 32 MiB/));
  });

  test('a whole multiple is said without decimals and parsed back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1023 }), fc.constantFrom('K', 'M', 'G', 'T'), (count, unit) => {
        const bytes = parseSizeBytes(`${count}${unit}`);
        expect(formatBytes(bytes)).toBe(`${count} ${unit}iB`);
      }),
    );
  });

  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [1.25 * 2 ** 30, '1.2 GiB'],
    [10.5 * 2 ** 30, '10 GiB'],
    [11.5 * 2 ** 30, '12 GiB'],
    [11.75 * 2 ** 20, '12 MiB'],
    [2 ** 52, '4 PiB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});
