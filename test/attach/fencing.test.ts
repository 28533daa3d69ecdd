// Writers, openers and folders of one image who meet: whoever is shut out changes nothing any more, and whoever is not loses
// nothing that was flushed (I5, I6).

import { describe, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { openHeader } from '../../lib/image/access.ts';
import { foldTail } from '../../lib/image/journal/fold.ts';
import { FarsideError } from '../../lib/errors.ts';
import { createImage } from '../../lib/image/images.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import type { JournalOwner } from '../../lib/image/header.ts';
import { memorySite, readImage, spec, type MemorySite } from '../image/model.ts';
import { interposed, isHeader } from './interposed.ts';

const sizeBytes = 64 * 1024;
const ownerNamed = (name: string): JournalOwner => ({
  lockId: 'auto 1',
  locker: 'client.1',
  address: name,
  sinceMs: 0,
});
const isGone = ({ address }: JournalOwner): boolean => address === 'gone';

const attach = (deps: MemorySite, name: string, force = false): Promise<AttachedImage> =>
  AttachedImage.open(deps, spec('vm'), { owner: ownerNamed(name), limits: attachLimitsDefault, force, isGone });

async function siteWithImage(): Promise<MemorySite> {
  const deps = await memorySite();
  await createImage(deps, spec('vm'), { sizeBytes, objectBytes: 16 * 1024 });
  return deps;
}

async function put(image: AttachedImage, byte: number): Promise<void> {
  await image.write(0, Buffer.alloc(4096, byte));
  await image.flush();
}

const firstByte = async (deps: MemorySite): Promise<number | undefined> => (await readImage(deps, 'vm'))[0];

describe('writers of one image who meet', () => {
  test('a writer that was pushed off does not fold its segments into the epoch of its successor', async () => {
    const deps = await siteWithImage();
    const first = await attach(deps, 'first');
    await put(first, 1);
    const second = await attach(deps, 'second', true);
    await put(second, 2);
    await expect(first.settle()).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    await second.close();
    expect(await firstByte(deps)).toBe(2);
  });

  test('an opener that was overtaken finds the other there, and does not end its epoch behind its back', async () => {
    const deps = await siteWithImage();
    const dead = await attach(deps, 'gone');
    await put(dead, 1);
    dead.abandon();
    let winner: AttachedImage | undefined;
    const slow = interposed(deps, isHeader, async () => (winner = await attach(deps, 'winner')));
    await expect(attach(slow, 'loser')).rejects.toMatchObject({ code: 'EBUSY' });
    await put(winner!, 2);
    await winner!.close();
    expect(await firstByte(deps)).toBe(2);
  });

  test('an opener who had no answer, but whose epoch did begin, has the image and leaves no lock behind', async () => {
    const deps = await siteWithImage();
    const unanswered = interposed(deps, isHeader, async (_, land) => {
      await land();
      await createSnapshot(deps, spec('vm'), 's'); // so that the repeat is no proof either way
      throw new FarsideError('ETIMEDOUT', 'no answer', { retry: 'later' });
    });
    const image = await attach(unanswered, 'here');
    await put(image, 3);
    expect((await openHeader(deps, spec('vm'))).value.journal?.owner?.address).toBe('here');
    await image.close();
    expect(await firstByte(deps)).toBe(3);
    expect((await openHeader(deps, spec('vm'))).value.journal).toMatchObject({ state: 'closed', folded: { tag: 1 } });
  });

  test('a writer that detaches while it is pushed off leaves the epoch of its successor open', async () => {
    const deps = await siteWithImage();
    let second: AttachedImage | undefined;
    let isAttached = false;
    const slow = interposed(
      deps,
      (key) => isHeader(key) && isAttached,
      async () => (second = await attach(deps, 'second', true)),
    );
    const first = await attach(slow, 'first');
    isAttached = true;
    await put(first, 1);
    await first.close();
    await put(second!, 2);
    await second!.close();
    expect(await firstByte(deps)).toBe(2);
  });

  test('folding ends, however busy the writer is', async () => {
    const deps = await siteWithImage();
    const writer = await attach(deps, 'writer');
    await put(writer, 1);
    const slow = interposed(deps, isHeader, (times) => put(writer, times + 2), 100);
    const folded = await foldTail(slow, await openHeader(slow, spec('vm')));
    expect(folded.value.journal?.folded.seq).toBeGreaterThanOrEqual(1);
    expect(folded.value.journal?.folded.seq).toBeLessThan(10);
    await writer.close();
  });
});
