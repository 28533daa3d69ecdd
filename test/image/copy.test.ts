// Copies: the same content under another name, that needs its source no more; nothing of it is visible before its end.

import { describe, expect, test } from 'vitest';
import type { FarsideError } from '../../lib/errors.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { openHeader, readHeader, updateHeader } from '../../lib/image/access.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { copyStep, type Copied, type CopyOptions } from '../../lib/image/clones/copy.ts';
import type { ImageDeps, ImageSpec } from '../../lib/image/deps.ts';
import type { Header } from '../../lib/image/header.ts';
import { removeImage } from '../../lib/image/images.ts';
import { setMeta } from '../../lib/image/meta.ts';
import { removeStep } from '../../lib/image/remove.ts';
import { createSnapshot, protectSnapshot, purgeSnapshots, rollbackSnapshot } from '../../lib/image/snapshots.ts';
import { readUpload } from '../../lib/image/imports/upload.ts';
import { atEveryRequest } from './dying.ts';
import { collect, importBytes, memorySite, readImage, seededRandom, spec, type MemorySite } from './model.ts';

const KiB = 1024;
const hourMs = 3_600_000;
const content = (seed: number, bytes: number): Uint8Array => seededRandom(seed).bytes(bytes);
const first = content(1, 600 * KiB);
const second = (() => {
  const changed = new Uint8Array(900 * KiB);
  changed.set(first);
  changed.set(content(2, 64 * KiB), 200 * KiB);
  changed.set(content(3, 64 * KiB), 836 * KiB);
  return changed;
})();
const code = (expected: string) => expect.objectContaining({ code: expected });
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const headerOf = async (deps: ImageDeps, name: string): Promise<Header> => (await openHeader(deps, spec(name))).value;

/** `vm`: `first` at snapshot `one`, then `second`. */
async function site(): Promise<MemorySite> {
  const deps = await memorySite({ packBytes: 128 * KiB });
  await importBytes(deps, 'vm', first, { objectBytes: 64 * KiB });
  await createSnapshot(deps, spec('vm'), 'one');
  await protectSnapshot(deps, spec('vm'), 'one');
  await importBytes(deps, 'vm', second, { update: true });
  await setMeta(deps, spec('vm'), 'key', 'value');
  return deps;
}

/** Small steps, so that a copy takes several. */
const limits = { copyBytesMax: 1, nodesMax: 100, windowBytes: 128 * KiB };
type Options = Partial<CopyOptions> & { source?: ImageSpec; between?: (copied: Copied) => Promise<unknown> };

async function copy(deps: ImageDeps, target: ImageSpec, options: Options = {}): Promise<number> {
  const { source = spec('vm'), between, ...rest } = options;
  let begun: string | undefined;
  for (let steps = 1; steps < 1000; steps++) {
    const copied = await copyStep(deps, source, target, { deep: false, limits, ...rest, begun });
    begun = copied.imageId;
    if (copied.done) return steps;
    await between?.(copied);
  }
  throw new Error('a copy without end');
}

async function removeWhole(deps: MemorySite, name: string): Promise<void> {
  await purgeSnapshots(deps, spec(name));
  await removeStep(deps, await removeImage(deps, spec(name)));
}

describe('a copy', () => {
  test('is what the source is, by root and content, and needs it no more', async () => {
    const deps = await site();
    expect(await copy(deps, spec('copy'))).toBeGreaterThan(3);
    const [from, to] = [await headerOf(deps, 'vm'), await headerOf(deps, 'copy')];
    expect(to.root).toEqual(from.root);
    expect(to).toMatchObject({
      meta: { key: 'value' },
      objectBytes: 64 * KiB,
      sizeBytes: second.length,
      snapshots: [],
    });
    expect(to).not.toHaveProperty('parent');
    await updateHeader(deps, spec('vm'), (header) => ({ ...header, snapshots: [] }));
    await removeWhole(deps, 'vm');
    expect((await deps.bucket.list({ prefix: prefixes.packs(from.imageId), limit: 1000 })).objects).toEqual([]);
    expect(same(await readImage(deps, 'copy'), second)).toBe(true);
    await importBytes(deps, 'copy', first, { update: true });
    expect(same(await readImage(deps, 'copy'), first)).toBe(true);
  });

  test('of a snapshot has its content and size; what only the head reaches is not copied', async () => {
    const deps = await site();
    await copy(deps, spec('copy'), { source: spec('vm', 'one') });
    expect(same(await readImage(deps, 'copy'), first)).toBe(true);
    const bytesOf = async (name: string): Promise<number> =>
      (
        await deps.bucket.list({ prefix: prefixes.packs((await headerOf(deps, name)).imageId), limit: 1000 })
      ).objects.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(await bytesOf('copy')).toBeLessThan(await bytesOf('vm'));
  });

  test('of an empty image is one, and holes cost no request', async () => {
    const deps = await site();
    await importBytes(deps, 'hole', new Uint8Array(8 * 1024 * KiB), { objectBytes: 64 * KiB });
    const before = deps.bucket.counts();
    expect(await copy(deps, spec('copy'), { source: spec('hole') })).toBe(1);
    const after = deps.bucket.counts();
    expect(after.A + after.B - before.A - before.B).toBeLessThan(15);
    expect((await headerOf(deps, 'copy')).sizeBytes).toBe(8 * 1024 * KiB);
  });

  test('of a clone has all data itself', async () => {
    const deps = await site();
    await cloneImage(deps, spec('vm'), { name: 'one' }, spec('clone'));
    await copy(deps, spec('copy'), { source: spec('clone') });
    const { imageId, ...header } = await headerOf(deps, 'vm');
    for (const { key } of (await deps.bucket.list({ prefix: prefixes.packs(imageId), limit: 1000 })).objects)
      await deps.bucket.delete([key]);
    expect(header.name).toBe('vm');
    expect(await headerOf(deps, 'copy')).not.toHaveProperty('parent');
    expect(same(await readImage(deps, 'copy'), first)).toBe(true);
  });

  test('of a non-primary image is an ordinary image', async () => {
    const deps = await site();
    await updateHeader(deps, spec('vm'), (header) => ({ ...header, features: [...header.features, 'non-primary'] }));
    await copy(deps, spec('copy'), { deep: true });
    await setMeta(deps, spec('copy'), 'own', 'yes');
    expect((await headerOf(deps, 'copy')).features).not.toContain('non-primary');
  });

  test('goes to other pools and namespaces, with other features', async () => {
    const deps = await site();
    await createDocument(deps.bucket, keyText({ kind: 'pool', pool: 'other' }), {}, deps.random);
    await createDocument(deps.bucket, keyText({ kind: 'namespace', pool: 'other', namespace: 'ns' }), {}, deps.random);
    const far: ImageSpec = { pool: 'other', namespace: 'ns', image: 'copy' };
    await copy(deps, far, { features: ['layering'], dataPool: 'rbd' });
    expect((await openHeader(deps, far)).value).toMatchObject({ features: ['layering', 'data-pool'], dataPool: 'rbd' });
    await expect(copy(deps, { ...far, namespace: 'none' })).rejects.toEqual(code('ENOENT'));
  });

  test('refuses a name that is taken, a source that is not there, and another object size', async () => {
    const deps = await site();
    await expect(copy(deps, spec('vm'))).rejects.toEqual(code('EEXIST'));
    await expect(copy(deps, spec('copy'), { source: spec('none') })).rejects.toEqual(code('ENOENT'));
    await expect(copy(deps, spec('copy'), { source: spec('vm', 'none') })).rejects.toEqual(code('ENOENT'));
    await expect(copy(deps, spec('copy'), { objectBytes: 128 * KiB })).rejects.toEqual(code('EOPNOTSUPP'));
    await expect(openHeader(deps, spec('copy'))).rejects.toEqual(code('ENOENT'));
  });
});

describe('a deep copy', () => {
  test('has the snapshots, their protection and times; of a snapshot, those up to it', async () => {
    const deps = await site();
    await createSnapshot(deps, spec('vm'), 'two');
    await copy(deps, spec('deep'), { deep: true });
    const snapshots = (header: Header) =>
      header.snapshots.map(({ name, root, protected: isProtected, createdAtMs, sizeBytes }) => ({
        name,
        root,
        isProtected,
        createdAtMs,
        sizeBytes,
      }));
    expect(snapshots(await headerOf(deps, 'deep'))).toEqual(snapshots(await headerOf(deps, 'vm')));
    await copy(deps, spec('deep-one'), { deep: true, source: spec('vm', 'one') });
    expect((await headerOf(deps, 'deep-one')).snapshots.map(({ name }) => name)).toEqual(['one']);
    await createSnapshot(deps, spec('deep'), 'three');
    await updateHeader(deps, spec('vm'), (header) => ({ ...header, snapshots: [] }));
    await removeWhole(deps, 'vm');
    expect(same(await readImage(deps, 'deep'), second)).toBe(true);
    await rollbackSnapshot(deps, spec('deep'), 'one');
    expect(same(await readImage(deps, 'deep'), first)).toBe(true);
  });
});

describe('a source that changes meanwhile', () => {
  test('does not change what is copied', async () => {
    const deps = await site();
    let writes = 0;
    const between = async (): Promise<void> => {
      if (writes++ === 0) await importBytes(deps, 'vm', content(9, 300 * KiB), { update: true });
    };
    await copy(deps, spec('copy'), { between });
    expect(same(await readImage(deps, 'copy'), second)).toBe(true);
  });

  test('and whose old content is collected: the copy is what the source is by then', async () => {
    const deps = await site();
    const now = content(9, 300 * KiB);
    let writes = 0;
    const between = async (): Promise<void> => {
      if (writes++ > 0) return;
      await importBytes(deps, 'vm', now, { update: true });
      deps.clock.advance(25 * hourMs);
      expect((await collect(deps, 'vm')).deletedPacks).toBeGreaterThan(0);
    };
    await copy(deps, spec('copy'), { between });
    expect(same(await readImage(deps, 'copy'), now)).toBe(true);
    expect((await headerOf(deps, 'copy')).sizeBytes).toBe(now.length);
  });

  test('or is removed: the copy fails, and is not there', async () => {
    const deps = await site();
    const between = async (): Promise<void> => {
      await updateHeader(deps, spec('vm'), (header) => ({ ...header, snapshots: [] }));
      await removeWhole(deps, 'vm');
    };
    await expect(copy(deps, spec('copy'), { between })).rejects.toEqual(code('ENOENT'));
    await expect(openHeader(deps, spec('copy'))).rejects.toEqual(code('ENOENT'));
  });

  test('damage of what the source still has is told as damage', async () => {
    const deps = await site();
    const { imageId } = await headerOf(deps, 'vm');
    const packs = await deps.bucket.list({ prefix: prefixes.packs(imageId), limit: 1000 });
    await deps.bucket.delete(packs.objects.map(({ key }) => key));
    await expect(copy(deps, spec('copy'))).rejects.toEqual(code('EBADMSG'));
  });
});

describe('a copy that dies, or is not alone', () => {
  const small = content(7, 100_000);
  const smallSite = async (): Promise<MemorySite> => {
    const deps = await memorySite({ packBytes: 32 * KiB, blockBytes: 4096 });
    await importBytes(deps, 'vm', small.subarray(0, 60_000), { objectBytes: 16 * KiB });
    await createSnapshot(deps, spec('vm'), 'one');
    await importBytes(deps, 'vm', small, { update: true });
    return deps;
  };

  test('at any request: no image, or the whole one; the same command again makes it', async () => {
    const requests = await atEveryRequest(
      smallSite,
      (deps) => copy(deps, spec('copy'), { deep: true }),
      async (deps, place) => {
        const isThere = await openHeader(deps, spec('copy')).then(
          () => true,
          () => false,
        );
        const outcome = await copy(deps, spec('copy'), { deep: true }).then(
          () => 'made',
          (error: FarsideError) => error.code,
        );
        expect(outcome, place).toBe(isThere ? 'EEXIST' : 'made');
        await updateHeader(deps, spec('vm'), (header) => ({ ...header, snapshots: [] }));
        await removeWhole(deps, 'vm');
        expect(same(await readImage(deps, 'copy'), small), place).toBe(true);
        expect(await readUpload(deps, spec('copy')), place).toBeUndefined();
      },
    );
    expect(requests).toBeGreaterThan(20);
  });

  test('goes on where it was, and copies nothing twice', async () => {
    const deps = await site();
    let steps = 0;
    const dies = async (): Promise<void> => {
      if (++steps === 3) throw new Error('dead');
    };
    await expect(copy(deps, spec('copy'), { between: dies })).rejects.toThrow('dead');
    const again = await copy(deps, spec('copy'));
    const whole = await copy(deps, spec('copy-2'));
    expect(again).toBe(whole - 3);
  });

  test('two at once: one image, of one of the two, and the other is told', async () => {
    const deps = await site();
    await importBytes(deps, 'vm-2', first, { objectBytes: 64 * KiB });
    const outcomes = await Promise.allSettled([
      copy(deps, spec('copy')),
      copy(deps, spec('copy'), { source: spec('vm-2') }),
    ]);
    const done = outcomes.filter(({ status }) => status === 'fulfilled');
    expect(done.length).toBe(1);
    const made = await readImage(deps, 'copy');
    expect(same(made, outcomes[0].status === 'fulfilled' ? second : first)).toBe(true);
  });

  test('an upload document cannot name another source than the command', async () => {
    const deps = await site();
    await importBytes(deps, 'secret', content(8, 100 * KiB), { objectBytes: 64 * KiB });
    let begun = '';
    const dies = async ({ imageId }: Copied): Promise<void> => {
      begun = imageId;
      throw new Error('dead');
    };
    await expect(copy(deps, spec('copy'), { source: spec('secret'), between: dies })).rejects.toThrow('dead');
    const goOn = copyStep(deps, spec('vm'), spec('copy'), { deep: false, begun });
    await expect(goOn).rejects.toEqual(code('EAGAIN'));
    expect(await readHeader(deps, begun)).toBeUndefined();
  });
});
