// A bucket whose objects are damaged, missing or swapped, and references that lie: reading refuses with EBADMSG what it cannot
// verify. It never gives other bytes, nor zeros, for what was stored.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { FarsideError } from '../../lib/errors.ts';
import { Candidates } from '../../lib/image/collect/collect-candidates.ts';
import { encodeEntry } from '../../lib/image/format/codec.ts';
import { walk } from '../../lib/image/map/diff.ts';
import { hash128 } from '../../lib/image/format/digest.ts';
import type { Root } from '../../lib/image/header.ts';
import { newImageId, parsePackId } from '../../lib/image/ids.ts';
import { encodeNode, type Node } from '../../lib/image/format/node.ts';
import { mergeCopies } from '../../lib/image/packs/pack-copy.ts';
import { encodeCopy, encodePack, entryKind, parsePackIndex } from '../../lib/image/format/pack.ts';
import { PackStore } from '../../lib/image/packs/pack-store.ts';
import { readRange } from '../../lib/image/map/read.ts';
import { importBytes, memorySite, openStore, readImage, seededRandom, type MemorySite } from './model.ts';

const KiB = 1024;
const damage = expect.objectContaining({ code: 'EBADMSG' }) as FarsideError;
const given = Buffer.from(seededRandom(1).bytes(40 * KiB));

async function packKeys(deps: MemorySite): Promise<string[]> {
  const { imageId } = await openStore(deps, 'disk');
  const keys: string[] = [];
  for await (const { key } of deps.bucket.listAll(prefixes.packs(imageId))) keys.push(key);
  return keys;
}

async function bodyOf(deps: MemorySite, key: string): Promise<Uint8Array> {
  const found = await deps.bucket.get(key);
  return found.status === 'found' ? found.body : new Uint8Array();
}

const put = async (deps: MemorySite, key: string, body: Uint8Array): Promise<void> => {
  await deps.bucket.delete([key]);
  await deps.bucket.create(key, body);
};

/** What reading gives: the content as it was, other bytes (never right), or a refusal. */
async function outcomeOf(read: Promise<Uint8Array>): Promise<'as it was' | 'something else' | 'refused'> {
  try {
    return given.equals(await read) ? 'as it was' : 'something else';
  } catch (error) {
    if (error instanceof FarsideError && error.code === 'EBADMSG') return 'refused';
    throw error;
  }
}

const withDisk = async (): Promise<MemorySite> => {
  const deps = await memorySite({ packBytes: 8 * KiB });
  await importBytes(deps, 'disk', given, { objectBytes: 4 * KiB });
  return deps;
};

describe('a pack in the bucket', () => {
  test('that was damaged anywhere is refused when it is read', async () => {
    const deps = await withDisk();
    const keys = await packKeys(deps);
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), fc.nat({ max: 7 }), async (pick, at, bit) => {
        const key = keys[pick % keys.length]!;
        const body = await bodyOf(deps, key);
        const damaged = Uint8Array.from(body);
        damaged[at % body.length]! ^= 1 << bit;
        await put(deps, key, damaged);
        const outcome = await outcomeOf(readImage(deps, 'disk'));
        await put(deps, key, body);
        expect(outcome).toBe('refused');
      }),
      { numRuns: 300 },
    );
  });

  test('that is cut off, missing, or another pack is refused when it is read', async () => {
    const deps = await withDisk();
    const keys = await packKeys(deps);
    for (const [i, key] of keys.entries()) {
      const body = await bodyOf(deps, key);
      const other = await bodyOf(deps, keys[(i + 1) % keys.length]!);
      const outcomes: string[] = [];
      for (const wrong of [
        body.slice(0, 10),
        body.slice(0, body.length >> 1),
        body.slice(0, body.length - 1),
        other,
        new Uint8Array(),
      ]) {
        await put(deps, key, wrong);
        outcomes.push(await outcomeOf(readImage(deps, 'disk')));
      }
      await deps.bucket.delete([key]);
      outcomes.push(await outcomeOf(readImage(deps, 'disk')));
      await put(deps, key, body);
      expect(outcomes).toEqual(Array.from({ length: 6 }, () => 'refused'));
    }
    expect(await outcomeOf(readImage(deps, 'disk'))).toBe('as it was');
  });

  test('that is cut off is refused when it is merged with another copy, or made sparser', () => {
    const blocks = [0, 1, 2].map((at) =>
      encodeEntry(entryKind.block, at * 512, given.subarray(at * 512, at * 512 + 512), 'none'),
    );
    const { packId, bytes } = encodePack(blocks);
    const sparse = encodeCopy(parsePackIndex(bytes, packId), (i) => (i === 0 ? blocks[0]!.encoded : undefined));
    const cutOff = (copy: Uint8Array): Uint8Array => copy.subarray(0, copy.length - 1);
    expect(() => mergeCopies(packId, sparse, cutOff(bytes))).toThrow(damage);
    expect(() => mergeCopies(packId, cutOff(sparse), bytes)).toThrow(damage);
    expect(() => parsePackIndex(bytes, packId).encoded(cutOff(bytes), 2)).toThrow(damage);
  });
});

describe('a root', () => {
  test('of which any field but the used bytes is not what was written is refused', async () => {
    const deps = await withDisk();
    const { root, objectBytes } = await openStore(deps, 'disk');
    const ids = (await packKeys(deps)).map((key) => key.slice(-32));
    const changes = fc.oneof(
      fc.record({ entry: fc.nat({ max: 40 }) }),
      fc.record({ level: fc.nat({ max: 7 }) }),
      fc.record({ entryCount: fc.oneof(fc.nat({ max: 40 }), fc.maxSafeNat()) }),
      fc.record({ packBytes: fc.oneof(fc.nat({ max: 400_000 }), fc.maxSafeNat()) }),
      fc.record({ pack: fc.constantFrom(...ids) }),
      fc.record({ hash: fc.constantFrom(...ids) }),
    );
    await fc.assert(
      fc.asyncProperty(changes, async (change) => {
        const wrong = { ...root!, ...change };
        fc.pre(JSON.stringify(wrong) !== JSON.stringify(root));
        const { store } = await openStore(deps, 'disk');
        expect(await outcomeOf(readRange(store, wrong, objectBytes, { offset: 0, length: given.length }))).toBe(
          'refused',
        );
      }),
      { numRuns: 200 },
    );
  });
});

/** An image of one pack that holds these nodes, in order, behind one block; the last node is the root. */
async function imageOf(level: number, nodes: readonly Node[]): Promise<{ store: PackStore; root: Root }> {
  const deps = await memorySite();
  const imageId = newImageId(deps.random);
  const block = encodeEntry(entryKind.block, 0, given.subarray(0, 4 * KiB), 'none');
  const pack = encodePack([block, ...nodes.map((node) => encodeEntry(entryKind.node, 0, encodeNode(node), 'none'))]);
  await deps.bucket.create(keyText({ kind: 'pack', imageId, packId: pack.packId }), pack.bytes);
  const entry = Buffer.alloc(4);
  entry.writeUInt32LE(nodes.length);
  const hash = hash128(Buffer.from(pack.packId, 'hex'), entry).toString('hex');
  const root = {
    pack: pack.packId,
    entry: nodes.length,
    entryCount: pack.entryCount,
    packBytes: pack.bytes.length,
    level,
    hash,
    usedBytes: 4 * KiB,
  };
  return {
    store: new PackStore(deps.bucket, { sources: [imageId], slotsFirst: false }, 'rbd/disk', 4 * KiB, deps.settings),
    root,
  };
}

const leaf: Node = { level: 0, extents: [{ sector: 0, sectors: 8, pack: 'self', entry: 0, skip: 0 }], children: [] };
const above = (level: number, entry: number): Node => ({
  level,
  extents: [],
  children: [{ slot: 0, pack: 'self', entry, usedSectors: 8 }],
});
const unknown = { packId: parsePackId('00112233445566778899aabbccddeeff'), entryCount: 3, packBytes: 1000 };

describe('a map that lies', () => {
  test.each<[string, number, Node[]]>([
    ['a child is a leaf where an inner node should be', 2, [leaf, above(2, 1)]],
    ['a child is an inner node where a leaf should be', 1, [leaf, above(1, 1), above(1, 2)]],
    ['a child is a block', 1, [above(1, 0)]],
    ['a child is no entry of its pack', 1, [above(1, 9)]],
    [
      'the data of an extent are a map node',
      0,
      [leaf, { ...leaf, extents: [{ ...leaf.extents[0]!, sectors: 1, entry: 1 }] }],
    ],
    ['the data of an extent are no entry of the pack', 0, [{ ...leaf, extents: [{ ...leaf.extents[0]!, entry: 9 }] }]],
    ['an extent goes on behind its block', 0, [{ ...leaf, extents: [{ ...leaf.extents[0]!, skip: 1 }] }]],
    [
      'an extent begins far behind its block',
      0,
      [{ ...leaf, extents: [{ ...leaf.extents[0]!, skip: Number.MAX_SAFE_INTEGER }] }],
    ],
    ['a pack is not there', 0, [{ ...leaf, extents: [{ ...leaf.extents[0]!, pack: unknown }] }]],
  ])('is refused: %s', async (_, level, nodes) => {
    const { store, root } = await imageOf(level, nodes);
    await expect(readRange(store, root, 4 * KiB, { offset: 0, length: 4 * KiB })).rejects.toThrow(damage);
  });

  test('about the shape of the tree is refused by a walk too', async () => {
    const { store, root } = await imageOf(1, [leaf, above(1, 1), above(1, 2)]);
    const walked = walk({
      store,
      objectBytes: 4 * KiB,
      wanted: [root],
      held: [],
      fromOffset: 0,
      nodesMax: 100,
      onEntry: () => {},
    });
    await expect(walked).rejects.toThrow(damage);
  });

  test('about how many entries a pack has is refused by a collection, which would take live ones for dead', () => {
    const candidates = new Candidates();
    candidates.add(unknown.packId, 1000);
    candidates.mark(unknown, 2);
    expect(() => candidates.mark({ ...unknown, entryCount: 300 }, 200)).toThrow(damage);
  });

  test('not at all is read', async () => {
    const { store, root } = await imageOf(1, [leaf, above(1, 1)]);
    expect(
      given.subarray(0, 4 * KiB).equals(await readRange(store, root, 4 * KiB, { offset: 0, length: 4 * KiB })),
    ).toBe(true);
  });
});
