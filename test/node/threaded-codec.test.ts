import { describe, expect, test } from 'vitest';
import { inlineCodec, type RawBlock } from '../../lib/image/packs/bulk-codec.ts';
import { encodeEntry } from '../../lib/image/format/codec.ts';
import { encodePack, entryKind } from '../../lib/image/format/pack.ts';
import { sharedRoom, ThreadedCodec } from '../../lib/node/threaded-codec.ts';
import { seededRandom } from '../image/model.ts';

const codec = new ThreadedCodec();
const blockBytes = 64 * 1024;

/** Random and text blocks by turns, and a short one at the end. */
function content(room: Buffer): RawBlock[] {
  const random = seededRandom(7);
  const blocks: RawBlock[] = [];
  for (let at = 0; at < room.length; at += blockBytes) {
    const raw = room.subarray(at, Math.min(at + blockBytes, room.length));
    if ((at / blockBytes) % 2 === 0) raw.set(random.bytes(raw.length));
    else raw.fill('the quick brown fox jumps over the lazy dog, ');
    blocks.push({ imageOffset: 2 ** 41 + at, raw });
  }
  return blocks;
}

describe('encoding on threads', () => {
  test.each([
    ['shared memory', sharedRoom(1024 * 1024 + 512)],
    ['memory of its own', Buffer.alloc(1024 * 1024 + 512)],
  ])('of blocks in %s makes what encoding in place makes', async (_, room) => {
    const blocks = content(room);
    for (const compression of ['auto', 'none'] as const) {
      const [here, there] = await Promise.all([
        inlineCodec.encode(blocks, compression),
        codec.encode(blocks, compression),
      ]);
      expect(there.map(({ entry }) => entry)).toEqual(here.map(({ entry }) => entry));
      expect(there.map(({ encoded }, i) => Buffer.compare(encoded, here[i]!.encoded))).toEqual(there.map(() => 0));
    }
  });

  test('of many chunks at once keeps them apart', async () => {
    const chunks = [1, 2, 3, 4, 5, 6].map((seed) => {
      const room = sharedRoom(1024 * 1024);
      room.set(seededRandom(seed).bytes(room.length));
      return [...Array(16).keys()].map((i) => ({
        imageOffset: i * blockBytes,
        raw: room.subarray(i * blockBytes, (i + 1) * blockBytes),
      }));
    });
    const made = await Promise.all(chunks.map((blocks) => codec.encode(blocks, 'auto')));
    const wanted = await Promise.all(chunks.map((blocks) => inlineCodec.encode(blocks, 'auto')));
    expect(made.map((entries) => entries.map(({ entry }) => entry.hash.toString('hex')))).toEqual(
      wanted.map((entries) => entries.map(({ entry }) => entry.hash.toString('hex'))),
    );
  });
});

describe('verifying on threads', () => {
  const blocks = content(Buffer.alloc(1024 * 1024));
  const pack = encodePack(blocks.map(({ imageOffset, raw }) => encodeEntry(entryKind.block, imageOffset, raw, 'auto')));
  const shared = (): Buffer => {
    const room = sharedRoom(pack.bytes.length);
    pack.bytes.copy(room);
    return room;
  };

  test('accepts a sound pack, in shared memory and in its own', async () => {
    await codec.verify(pack.packId, shared());
    await codec.verify(pack.packId, pack.bytes);
  });

  test.each([0, 100, 3000, pack.bytes.length - 1])(
    'refuses a flipped bit at %d as verifying in place does',
    async (at) => {
      const damaged = shared();
      damaged[at]! ^= 1;
      const why = await inlineCodec.verify(pack.packId, damaged).catch((error: unknown) => error);
      expect(why).toMatchObject({ code: 'EBADMSG' });
      await expect(codec.verify(pack.packId, damaged)).rejects.toMatchObject({
        code: 'EBADMSG',
        message: (why as Error).message,
      });
    },
  );

  test('refuses a pack that is cut off', async () => {
    const cut = shared().subarray(0, pack.bytes.length - 700);
    await expect(codec.verify(pack.packId, cut)).rejects.toMatchObject({ code: 'EBADMSG' });
  });
});
