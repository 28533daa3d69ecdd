// Images through random histories, against a plain buffer: what is written reads back, whatever the shape of the map; and the
// walk over trees finds exactly what some roots reach and others do not, however often it is interrupted.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { Settings } from '../../lib/image/deps.ts';
import { walk } from '../../lib/image/map/diff.ts';
import type { Root } from '../../lib/image/header.ts';
import { newImageId } from '../../lib/image/ids.ts';
import { cut, leaves, overlay, rootRef, type Leaf } from '../../lib/image/map/map.ts';
import type { Extent } from '../../lib/image/format/node.ts';
import type { Pack, PackStore } from '../../lib/image/packs/pack-store.ts';
import { readExtents, readRange } from '../../lib/image/map/read.ts';
import { ImageWriter } from '../../lib/image/map/write.ts';
import { memorySite, type MemorySite } from './model.ts';

const KiB = 1024;
const sectorBytes = 512;
/** As far as writes go; with leaves of 4 KiB a map has up to three levels. */
const sectorsMax = 4096;
const settings: Partial<Settings> = { blockBytes: 4 * KiB, packBytes: 16 * KiB };

type Step = { kind: 'write' | 'zero'; sector: number; sectors: number; seed: number } | { kind: 'cut'; sector: number };

/** Near the start mostly, so that writes meet; anywhere sometimes, so that maps grow levels. */
const places = fc.oneof(fc.nat({ max: 64 }), fc.nat({ max: 600 }), fc.nat({ max: sectorsMax - 1 }));
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      sector: places,
      sectors: fc.integer({ min: 1, max: 60 }),
      seed: fc.nat({ max: 1000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('zero' as const),
      sector: places,
      sectors: fc.integer({ min: 1, max: 300 }),
      seed: fc.constant(0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), sector: places }) },
);
/** Commits: each some writes, then at most one truncation, as the writer takes them. */
const histories = fc.array(fc.array(steps, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 });
const shapes = fc.record({ objectBytes: fc.constantFrom(4 * KiB, 16 * KiB, 64 * KiB), histories });

type Taken = { root: Root | null; content: Buffer };
type Played = { deps: MemorySite; store: PackStore; objectBytes: number; taken: Taken[] };

/** Content that differs from sector to sector and from seed to seed, with some sectors of zeros in it. */
function contentOf(seed: number, sectors: number): Buffer {
  const content = Buffer.alloc(sectors * sectorBytes);
  for (let sector = 0; sector < sectors; sector++) {
    const isHole = (sector + seed) % 11 < 3;
    content.fill(isHole ? '\0' : `${seed} wrote ${sector}; `, sector * sectorBytes, (sector + 1) * sectorBytes);
  }
  return content;
}

async function play(objectBytes: number, commits: readonly (readonly Step[])[]): Promise<Played> {
  const deps = await memorySite(settings);
  const imageId = newImageId(deps.random);
  const content = Buffer.alloc((sectorsMax + 300) * sectorBytes);
  const taken: Taken[] = [{ root: null, content: Buffer.from(content) }];
  const image = { imageId, pool: 'rbd', name: 'disk', objectBytes };
  for (const commit of commits) {
    const writer = new ImageWriter(deps, { image, root: taken.at(-1)!.root }, { compression: 'none', resume: false });
    for (const step of commit) await apply(writer, content, step);
    const cuts = commit.flatMap((step) => (step.kind === 'cut' ? [step.sector * sectorBytes] : []));
    for (const end of cuts.slice(-1)) content.fill(0, end);
    taken.push({ root: await writer.finish(), content: Buffer.from(content) });
  }
  const { store } = new ImageWriter(deps, { image, root: null }, { compression: 'none', resume: false });
  return { deps, store, objectBytes, taken };
}

async function apply(writer: ImageWriter, content: Buffer, step: Step): Promise<void> {
  if (step.kind === 'cut') return writer.truncate(step.sector * sectorBytes);
  const [start, bytes] = [step.sector * sectorBytes, step.sectors * sectorBytes];
  const written = step.kind === 'zero' ? Buffer.alloc(bytes) : contentOf(step.seed, step.sectors);
  written.copy(content, start);
  await (step.kind === 'zero' ? writer.zero(start, bytes) : writer.write(start, written));
}

/** Every entry that a root reaches, found by looking at every node. */
async function reachable(store: PackStore, root: Root | null): Promise<Set<string>> {
  const found = new Set<string>();
  const visit = async (pack: Pack, entry: number, level: number): Promise<void> => {
    found.add(`${pack.packId}/${entry}`);
    const node = await store.node(pack, entry, level);
    for (const extent of node.extents) found.add(`${extent.pack.packId}/${extent.entry}`);
    for (const child of node.children) await visit(child.pack, child.entry, level - 1);
  };
  for (const { pack, entry, level } of root ? [rootRef(root)] : []) await visit(pack, entry, level);
  return found;
}

const zeros = Buffer.alloc(sectorBytes);

function usedBytesOf(content: Buffer): number {
  let used = 0;
  for (let at = 0; at < content.length; at += sectorBytes)
    used += zeros.compare(content, at, at + sectorBytes) === 0 ? 0 : sectorBytes;
  return used;
}

describe('an image', () => {
  test('reads as a buffer would after every commit of any history, and old roots read as before', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ objectBytes, histories: commits }) => {
        const { store, taken } = await play(objectBytes, commits);
        for (const { root, content } of taken) {
          const found = await readRange(store, root, objectBytes, { offset: 0, length: content.length });
          expect(content.equals(found)).toBe(true);
          expect(root?.usedBytes ?? 0).toBeGreaterThanOrEqual(usedBytesOf(content));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('gives any range as pieces without gaps or overlaps', async () => {
    const ranges = fc.array(fc.tuple(fc.nat({ max: sectorsMax * sectorBytes }), fc.nat({ max: 100_000 })), {
      minLength: 1,
      maxLength: 10,
    });
    await fc.assert(
      fc.asyncProperty(
        shapes,
        ranges,
        fc.integer({ min: 1, max: 4 }),
        async ({ objectBytes, histories: commits }, given, windowsAhead) => {
          const { store, taken } = await play(objectBytes, commits);
          const { root, content } = taken.at(-1)!;
          for (const [offset, length] of given) {
            let at = offset;
            for await (const piece of readExtents(store, root, objectBytes, { offset, length }, windowsAhead)) {
              const data = 'data' in piece ? piece.data : Buffer.alloc(piece.hole);
              expect(piece.offset).toBe(at);
              expect(data.length).toBeGreaterThan(0);
              expect(content.subarray(at, at + data.length).equals(data)).toBe(true);
              at += data.length;
            }
            expect(at).toBe(offset + length);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test('has leaves that are found by number: those asked for, ascending, none of them empty', async () => {
    const ranges = fc.tuple(fc.nat({ max: 600 }), fc.nat({ max: 600 }));
    await fc.assert(
      fc.asyncProperty(shapes, ranges, async ({ objectBytes, histories: commits }, [from, count]) => {
        const { store, taken } = await play(objectBytes, commits);
        const { root } = taken.at(-1)!;
        const ref = root ? rootRef(root) : undefined;
        const [all, some]: [Leaf[], Leaf[]] = [[], []];
        for await (const leaf of leaves(store, ref, 0, 1e9)) all.push(leaf);
        for await (const leaf of leaves(store, ref, from, from + count)) some.push(leaf);
        expect(some).toEqual(all.filter(({ leaf }) => leaf >= from && leaf < from + count));
        expect(all.map(({ leaf }) => leaf)).toEqual(
          [...new Set(all.map(({ leaf }) => leaf))].toSorted((a, b) => a - b),
        );
        expect(all.every(({ extents }) => extents.length > 0)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });
});

describe('a walk', () => {
  test('finds exactly what wanted roots reach and held ones do not, in steps of any size', async () => {
    const choices = fc.record({
      wanted: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      held: fc.array(fc.nat(), { maxLength: 3 }),
      nodesMax: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(shapes, choices, async ({ objectBytes, histories: commits }, chosen) => {
        const { store, taken } = await play(objectBytes, commits);
        const rootsOf = (picks: readonly number[]): (Root | null)[] =>
          picks.map((pick) => taken[pick % taken.length]!.root);
        const [wanted, held] = [rootsOf(chosen.wanted), rootsOf(chosen.held)];
        const reach = async (roots: (Root | null)[]): Promise<Set<string>> =>
          new Set((await Promise.all(roots.map((root) => reachable(store, root)))).flatMap((set) => [...set]));
        const reachedByHeld = await reach(held);
        const expected = new Set([...(await reach(wanted))].filter((key) => !reachedByHeld.has(key)));
        const found = new Set<string>();
        const repeated: string[] = [];
        let from: number | null = 0;
        for (let count = 0; from !== null; count++) {
          expect(count).toBeLessThan(2000);
          const seen = new Set<string>();
          const onEntry = (pack: Pack, entry: number): void => {
            const key = `${pack.packId}/${entry}`;
            if (seen.has(key)) repeated.push(key);
            seen.add(key);
            found.add(key);
          };
          const { next, nodes } = await walk({
            store,
            objectBytes,
            wanted,
            held,
            fromOffset: from,
            nodesMax: chosen.nodesMax,
            onEntry,
          });
          expect(nodes).toBeLessThanOrEqual(Math.max(chosen.nodesMax, 8) * wanted.length + 8);
          expect(next ?? Infinity).toBeGreaterThan(from);
          from = next;
        }
        expect(found).toEqual(expected);
        expect(repeated).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('finds nothing between a root and itself, at the cost of no node', async () => {
    const { store, taken, objectBytes } = await play(4 * KiB, [[{ kind: 'write', sector: 0, sectors: 3000, seed: 1 }]]);
    const roots = [taken.at(-1)!.root];
    const onEntry = (): never => expect.unreachable();
    expect(await walk({ store, objectBytes, wanted: roots, held: roots, fromOffset: 0, nodesMax: 1, onEntry })).toEqual(
      { next: null, nodes: 0 },
    );
  });
});

const spans = fc.record({ start: fc.nat({ max: 60 }), length: fc.integer({ min: 1, max: 20 }), isHole: fc.boolean() });
type Sector = { entry: number; skip: number } | undefined;

const sectorsOf = (extents: readonly Extent<string>[]): Sector[] => {
  const sectors: Sector[] = Array.from({ length: 80 });
  for (const { sector, sectors: count, entry, skip } of extents)
    for (let i = 0; i < count; i++) sectors[sector + i] = { entry, skip: skip + i };
  return sectors;
};

describe('extents', () => {
  test('cut and overlaid say of every sector what an array says', () => {
    fc.assert(
      fc.property(fc.array(spans, { maxLength: 30 }), (steps) => {
        const model: Sector[] = Array.from({ length: 80 });
        let extents: Extent<string>[] = [];
        for (const [entry, { start, length, isHole }] of steps.entries()) {
          const before = structuredClone(extents);
          const given = extents;
          extents = isHole
            ? cut(given, start, start + length)
            : overlay(given, { sector: start, sectors: length, pack: 'p', entry, skip: 3 });
          expect(given).toEqual(before);
          const changes = isHole && model.slice(start, start + length).every((sector) => sector === undefined);
          expect(extents === given).toBe(changes);
          for (let i = 0; i < length; i++) model[start + i] = isHole ? undefined : { entry, skip: 3 + i };
          expect(sectorsOf(extents)).toEqual(model);
          const ends = extents.map(({ sector, sectors }) => sector + sectors);
          expect(extents.every(({ sector, sectors }, i) => sectors > 0 && sector >= (ends[i - 1] ?? 0))).toBe(true);
        }
      }),
    );
  });
});
