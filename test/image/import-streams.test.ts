// Diffs and whole histories come in at one instant: whenever the importer dies, the image is as before or as after, and the
// same run again brings it there.

import { describe, expect, test } from 'vitest';
import type { FarsideError } from '../../lib/errors.ts';
import { openHeader } from '../../lib/image/access.ts';
import { changedRanges } from '../../lib/image/map/changes.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import type { Header } from '../../lib/image/header.ts';
import { createImage } from '../../lib/image/images.ts';
import { startDiffImport } from '../../lib/image/imports/import-diff.ts';
import { HistoryImport } from '../../lib/image/imports/import-history.ts';
import { readSpans } from '../../lib/image/map/read.ts';
import { createSnapshot } from '../../lib/image/snapshots.ts';
import { atEveryRequest, dying } from './dying.ts';
import { memorySite, openStore, readImage, seededRandom, spec, type MemorySite } from './model.ts';

const fill = (byteCount: number, seed: number): Buffer => Buffer.from(seededRandom(seed).bytes(byteCount));

const settings = { packBytes: 32 * 1024, blockBytes: 4096 };

describe('a diff', () => {
  const old = fill(100_000, 1);
  const now = Buffer.concat([old.subarray(0, 50_000), fill(30_001, 2), Buffer.alloc(20_000), fill(60_000, 3)]);
  const setUp = async (): Promise<MemorySite> => {
    const deps = await memorySite(settings);
    await createImage(deps, spec('vm'), { sizeBytes: 100_000, objectBytes: 16_384 });
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    await patch.write(0, old);
    await running.finish(patch, 100_000, { name: 'one' });
    return deps;
  };
  const importNow = async (deps: MemorySite): Promise<void> => {
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    await patch.write(50_000, now.subarray(50_000, 80_001));
    await patch.zero(80_001, 20_000);
    await patch.write(100_001, now.subarray(100_001));
    await running.finish(patch, now.length, { name: 'two', isProtected: true });
  };
  const stateOf = async (deps: MemorySite): Promise<'old' | 'now'> => {
    const { sizeBytes, snapshots } = (await openHeader(deps, spec('vm'))).value;
    const content = Buffer.from(await readImage(deps, 'vm'));
    const names = snapshots.map(({ name, protected: isProtected }) => `${name}${isProtected ? ' protected' : ''}`);
    const state = content.equals(old) ? 'old' : 'now';
    expect(content.equals(state === 'old' ? old : now)).toBe(true);
    expect([sizeBytes, names]).toEqual(
      state === 'old' ? [old.length, ['one']] : [now.length, ['one', 'two protected']],
    );
    return state;
  };

  test('death at any request leaves the old image or the new one; the next run brings the new one', async () => {
    const requests = await atEveryRequest(setUp, importNow, async (deps, place) => {
      const state = await stateOf(deps);
      const again = await importNow(deps).then(
        () => 'done',
        (error: FarsideError) => error.code,
      );
      expect([place, again]).toEqual([place, state === 'old' ? 'done' : 'EEXIST']);
      expect([place, await stateOf(deps)]).toEqual([place, 'now']);
    });
    expect(requests).toBeGreaterThan(8);
  });

  test('a clone takes one over its parent’s data, and what changed since nothing carries both', async () => {
    const deps = await setUp();
    await cloneImage(deps, spec('vm'), { name: 'one' }, spec('child'));
    const running = await startDiffImport(deps, spec('child'), { compression: 'none' });
    const patch = await running.begin();
    await patch.write(1000, now.subarray(50_000, 60_000));
    await running.finish(patch, 90_001, undefined);
    const expected = Buffer.from(old.subarray(0, 90_001));
    now.copy(expected, 1000, 50_000, 60_000);
    expect(Buffer.from(await readImage(deps, 'child')).equals(expected)).toBe(true);
    const { store, root, objectBytes, sizeBytes } = await openStore(deps, 'child');
    const carried = Buffer.alloc(sizeBytes);
    for await (const range of changedRanges({
      store,
      objectBytes,
      from: null,
      to: root,
      sizeBytes,
      wholeObject: false,
    }))
      for (const { offset, data } of await readSpans(store, root, objectBytes, [range])) carried.set(data, offset);
    expect(carried.equals(expected)).toBe(true);
    expect(await stateOf(deps)).toBe('old');
  });

  test('of two at once, one wins and the other says so', async () => {
    const deps = await setUp();
    const outcomes = await Promise.allSettled([importNow(deps), importNow(dying(deps, Infinity, 'before'))]);
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const codes = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [(outcome.reason as FarsideError).code] : [],
    );
    expect(['EEXIST', 'ESTALE']).toContain(codes[0]);
    expect(await stateOf(deps)).toBe('now');
  });

  test('a snapshot, metadata or a write that comes meanwhile: nothing of it is lost', async () => {
    const deps = await setUp();
    const running = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const patch = await running.begin();
    await patch.write(0, fill(512, 4));
    await createSnapshot(deps, spec('vm'), 'meanwhile');
    await running.finish(patch, 100_000, { name: 'two' });
    const { snapshots } = (await openHeader(deps, spec('vm'))).value;
    expect(snapshots.map(({ name }) => name)).toEqual(['one', 'meanwhile', 'two']);

    const late = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const latePatch = await late.begin();
    await latePatch.write(0, fill(512, 5));
    await importNow(deps).catch(() => {}); // `two` is there: refused, and nothing changed
    const other = await startDiffImport(deps, spec('vm'), { compression: 'none' });
    const otherPatch = await other.begin();
    await otherPatch.write(4096, fill(512, 6));
    await other.finish(otherPatch, 100_000, undefined);
    await expect(late.finish(latePatch, 100_000, { name: 'three' })).rejects.toMatchObject({ code: 'ESTALE' });
  });
});

describe('a history', () => {
  const contents = [fill(40_000, 1), fill(20_000, 2), fill(70_000, 3)];
  const meta = [['owner', 'me']] as const;
  const importAll = async (deps: MemorySite): Promise<void> => {
    const options = { objectBytes: 16_384, features: ['layering'], meta, compression: 'none' as const };
    const running = await HistoryImport.start(deps, spec('vm'), options);
    for (const [index, content] of contents.entries()) {
      const patch = running.beginStep();
      await patch.write(0, content);
      await running.endStep(content.length, index < 2 ? { name: `s${index}`, isProtected: index === 1 } : undefined);
    }
    await running.finish();
  };
  const headerOf = (deps: MemorySite): Promise<Header | undefined> =>
    openHeader(deps, spec('vm')).then(
      ({ value }) => value,
      () => undefined,
    );

  test('death at any request leaves no image or the whole one; the next run brings it', async () => {
    const requests = await atEveryRequest(
      () => memorySite(settings),
      importAll,
      async (deps, place) => {
        const left = await headerOf(deps);
        const again = await importAll(deps).then(
          () => 'done',
          (error: FarsideError) => error.code,
        );
        expect([place, again]).toEqual([place, left ? 'EEXIST' : 'done']);
        const header = (await headerOf(deps))!;
        expect(left ?? header).toEqual(header);
        expect(header).toMatchObject({
          meta: { owner: 'me' },
          features: ['layering'],
          objectBytes: 16_384,
          sizeBytes: 70_000,
          snapshots: [
            { id: 1, name: 's0', sizeBytes: 40_000, protected: false },
            { id: 2, name: 's1', sizeBytes: 20_000, protected: true },
          ],
          nextSnapshotId: 3,
        });
        expect(Buffer.from(await readImage(deps, 'vm')).equals(contents[2]!)).toBe(true);
      },
    );
    expect(requests).toBeGreaterThan(10);
  });

  test('a second image of the same name: EEXIST, before anything is taken', async () => {
    const deps = await memorySite();
    await importAll(deps);
    const options = { objectBytes: 4096, features: [], meta: [], compression: 'none' as const };
    await expect(HistoryImport.start(deps, spec('vm'), options)).rejects.toMatchObject({ code: 'EEXIST' });
  });

  test.each([
    ['metadata with a key that none can have', [['', 'x']], 'EINVAL'],
    ['a value that is too long', [['k', 'x'.repeat(70_000)]], 'EFBIG'],
    ['too much of it', Array.from({ length: 5 }, (_, i) => [`k${i}`, 'x'.repeat(60_000)]), 'ENOSPC'],
  ])('%s: refused', async (_, entries, code) => {
    const options = {
      objectBytes: 4096,
      features: [],
      meta: entries as [string, string][],
      compression: 'none' as const,
    };
    await expect(HistoryImport.start(await memorySite(), spec('vm'), options)).rejects.toMatchObject({ code });
  });
});
