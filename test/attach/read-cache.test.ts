// What a cache of blocks gives when the bucket answers late and in parts: every reader his own bytes, never what lay in his memory
// before.

import { describe, expect, test } from 'vitest';
import { ReadOnlyImage } from '../../lib/attach/read-only-image.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { importBytes, memorySite, openStore, seededRandom, type MemorySite } from '../image/model.ts';

const blockBytes = 64 * 1024;
const objectBytes = 1024 * 1024;

/** The gets that wait, in the order in which they came; `land` lets one through. */
type Gate = { isShut: boolean; waiting: { key: string; land: () => void }[] };

function gated(deps: MemorySite): { deps: MemorySite; gate: Gate } {
  const gate: Gate = { isShut: false, waiting: [] };
  const { driver } = deps;
  const get: Driver['get'] = async (key, options) => {
    if (gate.isShut) await new Promise<void>((land) => gate.waiting.push({ key, land }));
    return await driver.get(key, options);
  };
  const slow: Driver = {
    kind: 'memory',
    get,
    head: (key) => driver.head(key),
    put: (key, body, condition) => driver.put(key, body, condition),
    delete: (keys) => driver.delete(keys),
    list: (options) => driver.list(options),
  };
  return { deps: { ...deps, bucket: new Bucket(slow, deps) }, gate };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Blocks 0 and 3 lie in one pack, too far apart to be read by one request; 1 and 2 were written later, and lie in another. */
async function openImage(cacheBytes: number): Promise<{ image: ReadOnlyImage; content: Buffer; gate: Gate }> {
  const fast = await memorySite({ packBytes: 8 * 1024 * 1024 });
  const content = Buffer.from(seededRandom(7).bytes(4 * blockBytes));
  await importBytes(fast, 'vm', content, { objectBytes });
  content.set(seededRandom(8).bytes(2 * blockBytes), blockBytes);
  await importBytes(fast, 'vm', content, { objectBytes, update: true });
  const { deps, gate } = gated(fast);
  const { store, root, sizeBytes } = await openStore(deps, 'vm');
  const image = new ReadOnlyImage({ store, root, sizeBytes, objectBytes }, { cacheBytes, readAheadBytes: 0 });
  // From now on the map, and where the packs are, is known.
  for (const block of [3, 1]) await image.readInto(block * blockBytes, Buffer.alloc(blockBytes));
  gate.isShut = true;
  return { image, content, gate };
}

describe('a block that is asked for again while an earlier request still brings its neighbours', () => {
  test.each([0, blockBytes])(
    'comes to whoever asked, with a cache of %i bytes that did not keep it',
    async (cacheBytes) => {
      const { image, content, gate } = await openImage(cacheBytes);
      const [all, again] = [Buffer.alloc(content.length), Buffer.alloc(blockBytes, 0xee)];
      const earlier = image.readInto(0, all);
      await settled();
      for (const { land } of gate.waiting.splice(0)) land();
      await settled(); // block 0 has come; block 3 is on its way
      expect(gate.waiting).toHaveLength(1);
      const later = image.readInto(0, again);
      await settled();
      expect(gate.waiting).toHaveLength(2);
      const [third, first] = gate.waiting.splice(0);
      third!.land();
      await earlier;
      first!.land();
      await later;
      expect(all.equals(content)).toBe(true);
      expect(again.equals(content.subarray(0, blockBytes))).toBe(true);
    },
  );
});
