// The pattern finds what it is there to find.

import { describe, expect, test } from 'vitest';
import { apply, dataOf, decode, prefixOf, requestOf, sectorBytes } from './pattern.ts';

const sectorCount = 256;
const contentAfter = (seqMax: number, left: ReadonlySet<number> = new Set()): Buffer => {
  const content = Buffer.alloc(sectorCount * sectorBytes);
  for (let seq = 1; seq <= seqMax; seq++) {
    const request = requestOf('s', seq, sectorCount);
    const data = request.type === 'write' ? dataOf(request) : Buffer.alloc(request.sectors * sectorBytes);
    if (!left.has(seq)) content.set(data, request.sector * sectorBytes);
  }
  return content;
};
const search = { seed: 's', base: new Uint32Array(sectorCount), firstSeq: 1, minSeq: 0, maxSeq: 100 };

describe('the pattern', () => {
  test('tells which prefix a content is', () => {
    for (const seq of [0, 1, 17, 60]) {
      const found = prefixOf(decode(contentAfter(seq)), search);
      const state = new Uint32Array(sectorCount);
      for (let i = 1; i <= found; i++) apply(state, requestOf('s', i, sectorCount));
      expect(decode(contentAfter(seq))).toEqual(state);
    }
  });

  test('finds that something flushed is missing', () => {
    expect(() => prefixOf(decode(contentAfter(30)), { ...search, minSeq: 60 })).toThrow('no prefix from 60');
  });

  test('finds that something earlier is missing while something later is there', () => {
    const last = requestOf('s', 60, sectorCount);
    const earlier = Array.from({ length: 59 }, (_, i) => requestOf('s', i + 1, sectorCount)).findLast(
      ({ type, sector, sectors }) =>
        type === 'write' && (sector + sectors <= last.sector || sector >= last.sector + last.sectors),
    )!;
    expect(() => prefixOf(decode(contentAfter(60, new Set([earlier.seq]))), { ...search, minSeq: 59 })).toThrow(
      'no prefix',
    );
  });

  test('finds that a sector is torn', () => {
    const content = contentAfter(60);
    const write = Array.from({ length: 60 }, (_, i) => requestOf('s', i + 1, sectorCount)).findLast(
      ({ type }) => type === 'write',
    )!;
    content.fill(0, write.sector * sectorBytes + 256, (write.sector + 1) * sectorBytes);
    expect(() => decode(content)).toThrow('is torn');
  });
});
