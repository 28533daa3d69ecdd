import { describe, expect, test } from 'vitest';

import { createDocument, replaceDocument } from '../../lib/bucket/document.ts';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { openHeader, readHeader, updateHeader } from '../../lib/image/access.ts';
import { forgetGone, listChildren } from '../../lib/image/clones/children.ts';
import { cloneImage, parentLink } from '../../lib/image/clones/clone.ts';
import type { ImageDeps, ImageSpec } from '../../lib/image/deps.ts';
import { copyLimitsDefault, type CopyLimits } from '../../lib/image/clones/copy-packs.ts';
import { flattenStep } from '../../lib/image/clones/flatten.ts';
import type { Header } from '../../lib/image/header.ts';
import { newImageId } from '../../lib/image/ids.ts';
import { createImage, newHeader, removeImage, renameImage, resizeImage } from '../../lib/image/images.ts';
import { imageInfo } from '../../lib/image/info.ts';
import { withChild } from '../../lib/image/clones/lineage.ts';
import { headerKey } from '../../lib/image/names.ts';
import { removeStep } from '../../lib/image/remove.ts';
import {
  createSnapshot,
  listSnapshots,
  protectSnapshot,
  purgeSnapshots,
  removeSnapshot,
  rollbackSnapshot,
  unprotectSnapshot,
} from '../../lib/image/snapshots.ts';
import { readStored } from '../format/reader.ts';
import { collect, importBytes, memorySite, readImage, seededRandom, spec, type MemorySite } from './model.ts';

const KiB = 1024;
const hourMs = 3_600_000;
const content = (seed: number, bytes: number): Uint8Array => seededRandom(seed).bytes(bytes);
const golden = content(1, 1024 * KiB);

/** `golden` with other bytes from an offset on. */
function changedFrom(base: Uint8Array, offset: number, seed: number, bytes = 64 * KiB): Uint8Array {
  const changed = Uint8Array.from(base);
  changed.set(content(seed, bytes), offset);
  return changed;
}

/** Image `golden` with snapshot `s` on a site with a second pool. */
async function site(): Promise<MemorySite> {
  const deps = await memorySite();
  await createDocument(deps.bucket, keyText({ kind: 'pool', pool: 'other' }), {}, deps.random);
  for (const pool of ['rbd', 'other'])
    await createDocument(deps.bucket, keyText({ kind: 'namespace', pool, namespace: 'ns' }), {}, deps.random);
  await importBytes(deps, 'golden', golden, { objectBytes: 64 * KiB });
  await createSnapshot(deps, spec('golden'), 's');
  return deps;
}

const clone = (deps: ImageDeps, name: string, from = 'golden', options = {}): ReturnType<typeof cloneImage> =>
  cloneImage(deps, spec(from), { name: 's' }, spec(name), options);
const headerOf = async (deps: ImageDeps, name: string): Promise<Header> => (await openHeader(deps, spec(name))).value;
const packCount = async (deps: ImageDeps, imageId: string): Promise<number> =>
  (await deps.bucket.list({ prefix: prefixes.packs(imageId), limit: 1000 })).objects.length;
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

async function removeWhole(deps: ImageDeps, name: string): Promise<void> {
  await removeStep(deps, await removeImage(deps, spec(name)));
}

async function flatten(deps: ImageDeps, name: string, limits: CopyLimits = copyLimitsDefault): Promise<number> {
  for (let steps = 1; steps < 1000; steps++) if ((await flattenStep(deps, spec(name), { limits })).done) return steps;
  throw new Error('a flatten without end');
}

describe('clone', () => {
  test('is the snapshot, in a constant number of requests and without a byte of its own', async () => {
    const deps = await site();
    await importBytes(deps, 'golden', content(9, 1024 * KiB), { update: true });
    const before = deps.bucket.counts();
    const imageId = await clone(deps, 'vm');
    const after = deps.bucket.counts();
    expect(after.A + after.B - before.A - before.B).toBeLessThanOrEqual(10);
    expect(same(await readImage(deps, 'vm'), golden)).toBe(true);
    expect(await packCount(deps, imageId)).toBe(0);
    expect(await imageInfo(deps, spec('vm'))).toMatchObject({
      size: golden.length,
      op_features: ['clone-child'],
      parent: { pool: 'rbd', pool_namespace: '', image: 'golden', snapshot: 's', overlap: golden.length },
    });
  });

  test('and parent are written independently, also clones of clones, in other pools', async () => {
    const deps = await site();
    await clone(deps, 'vm');
    const ours = changedFrom(golden, 128 * KiB, 2);
    await importBytes(deps, 'vm', ours, { update: true });
    await importBytes(deps, 'golden', content(3, 1024 * KiB), { update: true });
    await createSnapshot(deps, spec('vm'), 's');
    const far: ImageSpec = { pool: 'other', namespace: 'ns', image: 'grandchild' };
    await cloneImage(deps, spec('vm'), { name: 's' }, far);
    await importBytes(deps, 'vm', content(4, 300 * KiB), { update: true });
    expect(same(await readImage(deps, 'golden'), content(3, 1024 * KiB))).toBe(true);
    expect(same(await readImage(deps, 'vm'), content(4, 300 * KiB))).toBe(true);
    const read = await readStored(
      async (key) => {
        const found = await deps.bucket.get(key);
        return found.status === 'found' ? found.body : undefined;
      },
      { pool: 'other', namespace: 'ns', image: 'grandchild' },
    );
    expect(same(read, ours)).toBe(true);
    expect((await listChildren(deps, spec('golden'))).map(({ image }) => image)).toEqual(['vm']);
    const all = await listChildren(deps, spec('golden'), { snapshot: { name: 's' }, descendants: true });
    expect(all.map(({ pool, pool_namespace, image }) => `${pool}/${pool_namespace}/${image}`)).toEqual([
      'other/ns/grandchild',
      'rbd//vm',
    ]);
  });

  test('remembers which image has a pack: a second reader asks for it once', async () => {
    const deps = await site();
    await clone(deps, 'vm');
    await readImage(deps, 'golden');
    const cost = async (name: string): Promise<number> => {
      const { B } = deps.bucket.counts();
      await readImage(deps, name);
      return deps.bucket.counts().B - B;
    };
    const own = await cost('golden');
    await cost('vm');
    expect(await cost('vm')).toBe(own);
  });

  test('rolls back, shrinks and grows: overlap says what is still its parent’s', async () => {
    const deps = await site();
    await clone(deps, 'vm');
    await createSnapshot(deps, spec('vm'), 'whole');
    await resizeImage(deps, spec('vm'), { sizeBytes: 100 * KiB, allowShrink: true });
    await resizeImage(deps, spec('vm'), { sizeBytes: 200 * KiB });
    expect((await imageInfo(deps, spec('vm'))).parent?.overlap).toBe(100 * KiB);
    const shown = await readImage(deps, 'vm');
    expect(same(shown.subarray(0, 100 * KiB), golden.subarray(0, 100 * KiB))).toBe(true);
    expect(shown.subarray(100 * KiB).every((byte) => byte === 0)).toBe(true);
    await rollbackSnapshot(deps, spec('vm'), 'whole');
    expect(same(await readImage(deps, 'vm'), golden)).toBe(true);
  });

  test('format 1 needs protection and holds it; auto follows the snapshot', async () => {
    const deps = await site();
    await expect(clone(deps, 'vm', 'golden', { cloneFormat: '1' })).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'parent snapshot must be protected',
    });
    await protectSnapshot(deps, spec('golden'), 's');
    const far: ImageSpec = { pool: 'rbd', namespace: 'ns', image: 'vm' };
    await expect(cloneImage(deps, spec('golden'), { name: 's' }, far, { cloneFormat: '1' })).rejects.toMatchObject({
      code: 'EXDEV',
    });
    await clone(deps, 'vm');
    await cloneImage(deps, spec('golden'), { name: 's' }, far);
    expect((await headerOf(deps, 'vm')).parent?.cloneFormat).toBe(1);
    await expect(unprotectSnapshot(deps, spec('golden'), 's')).rejects.toMatchObject({ code: 'EBUSY' });
    await removeImage(deps, spec('vm'));
    await unprotectSnapshot(deps, spec('golden'), 's'); // the clone of format 2 does not need it
  });

  test('refusals leave nothing behind', async () => {
    const deps = await site();
    await createImage(deps, spec('taken'), { sizeBytes: 1 });
    const code = (options: object, name = 'vm'): Promise<unknown> =>
      clone(deps, name, 'golden', options).catch((error: { code: string }) => error.code);
    expect(await code({}, 'taken')).toBe('EEXIST');
    expect(await code({ objectBytes: 4096 * KiB })).toBe('EOPNOTSUPP');
    expect(await code({ features: ['exclusive-lock'] })).toBe('ENOSYS');
    await expect(cloneImage(deps, spec('golden'), { name: 'none' }, spec('vm'))).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await expect(
      cloneImage(deps, spec('golden'), { name: 's' }, { pool: 'absent', namespace: '', image: 'vm' }),
    ).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await headerOf(deps, 'golden')).children).toBeUndefined();
  });
});

describe('a snapshot with clones', () => {
  test('moves to the trash when it is removed, and goes with the last of them', async () => {
    const deps = await site();
    await clone(deps, 'a');
    await clone(deps, 'b');
    await importBytes(deps, 'golden', content(3, 1024 * KiB), { update: true });
    await removeSnapshot(deps, spec('golden'), 's');
    expect(await listSnapshots(deps, spec('golden'))).toEqual([]);
    expect(await listSnapshots(deps, spec('golden'), { all: true })).toMatchObject([
      { namespace: { type: 'trash', original_name: 's' } },
    ]);
    expect((await imageInfo(deps, spec('golden'))).op_features).toEqual(['clone-parent', 'snap-trash']);
    await createSnapshot(deps, spec('golden'), 's'); // the name is free
    await purgeSnapshots(deps, spec('golden'));
    await expect(removeImage(deps, spec('golden'))).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    deps.clock.advance(48 * hourMs);
    await collect(deps, 'golden');
    expect(same(await readImage(deps, 'a'), golden)).toBe(true);
    await removeImage(deps, spec('a'));
    expect((await headerOf(deps, 'golden')).snapshots).toHaveLength(1);
    await removeWhole(deps, 'b');
    expect((await headerOf(deps, 'golden')).snapshots).toHaveLength(0);
    expect((await collect(deps, 'golden')).deletedPacks).toBeGreaterThan(0);
    await removeWhole(deps, 'golden');
  });

  test('collection of a clone removes what it wrote itself, and never its parent’s', async () => {
    const deps = await site();
    const imageId = await clone(deps, 'vm');
    await importBytes(deps, 'vm', changedFrom(golden, 0, 2, 512 * KiB), { update: true });
    await importBytes(deps, 'vm', changedFrom(golden, 0, 3, 512 * KiB), { update: true });
    const before = await packCount(deps, imageId);
    const ofParent = await packCount(deps, (await headerOf(deps, 'golden')).imageId);
    deps.clock.advance(48 * hourMs);
    expect((await collect(deps, 'vm')).deletedPacks).toBeGreaterThan(0);
    expect(await packCount(deps, imageId)).toBeLessThan(before);
    expect(await packCount(deps, (await headerOf(deps, 'golden')).imageId)).toBe(ofParent);
    expect(same(await readImage(deps, 'vm'), changedFrom(golden, 0, 3, 512 * KiB))).toBe(true);
  });
});

describe('flatten', () => {
  const small: CopyLimits = { copyBytesMax: 1, nodesMax: 100, windowBytes: 64 * KiB };

  test('makes the clone and its snapshots independent, step by step, and lets go of the parent', async () => {
    const deps = await site();
    await clone(deps, 'vm');
    await createSnapshot(deps, spec('vm'), 'early');
    await importBytes(deps, 'vm', changedFrom(golden, 128 * KiB, 2), { update: true });
    await removeSnapshot(deps, spec('golden'), 's');
    expect(await flatten(deps, 'vm', small)).toBeGreaterThan(3);
    expect((await headerOf(deps, 'vm')).parent).toBeUndefined();
    await removeWhole(deps, 'golden');
    expect(same(await readImage(deps, 'vm'), changedFrom(golden, 128 * KiB, 2))).toBe(true);
    await rollbackSnapshot(deps, spec('vm'), 'early');
    expect(same(await readImage(deps, 'vm'), golden)).toBe(true);
    await expect(flattenStep(deps, spec('vm'))).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'image has no parent',
    });
  });

  test('copies only what the clone still reaches, and nothing twice', async () => {
    const deps = await site();
    const imageId = await clone(deps, 'vm');
    await importBytes(deps, 'vm', changedFrom(golden, 0, 2, 1024 * KiB - 64 * KiB), { update: true });
    const stored = async (): Promise<number> => {
      let bytes = 0;
      for await (const object of deps.bucket.listAll(prefixes.packs(imageId))) bytes += object.bytes;
      return bytes;
    };
    const before = await stored();
    await flatten(deps, 'vm');
    expect((await stored()) - before).toBeLessThan(100 * KiB);
  });

  test('goes on while the clone is written, and begins again after a collection', async () => {
    const deps = await site();
    await clone(deps, 'vm');
    // Copies of an earlier attempt, old enough to be collected.
    for (let step = 0; step < 6; step++) await flattenStep(deps, spec('vm'), { limits: small });
    const dropProgress = ({ parent, ...header }: Header): Header => {
      const { flatten: _, ...link } = parent!;
      return { ...header, parent: link };
    };
    await updateHeader(deps, spec('vm'), dropProgress);
    deps.clock.advance(48 * hourMs);
    await flattenStep(deps, spec('vm'), { limits: small });
    await updateHeader(deps, spec('vm'), dropProgress);
    expect((await collect(deps, 'vm')).deletedPacks).toBeGreaterThan(0);
    for (let step = 0; step < 4; step++) await flattenStep(deps, spec('vm'), { limits: small });
    await importBytes(deps, 'vm', changedFrom(golden, 0, 2), { update: true });
    deps.clock.advance(48 * hourMs);
    await importBytes(deps, 'vm', changedFrom(golden, 0, 3), { update: true });
    deps.clock.advance(48 * hourMs);
    await collect(deps, 'vm');
    await flatten(deps, 'vm', small);
    await removeSnapshot(deps, spec('golden'), 's');
    await removeWhole(deps, 'golden');
    expect(same(await readImage(deps, 'vm'), changedFrom(golden, 0, 3))).toBe(true);
  });

  test('a parent that was flattened still serves its clones', async () => {
    const deps = await site();
    await clone(deps, 'middle');
    await importBytes(deps, 'middle', changedFrom(golden, 0, 2), { update: true });
    await createSnapshot(deps, spec('middle'), 's');
    await clone(deps, 'leaf', 'middle');
    await flatten(deps, 'middle');
    await removeSnapshot(deps, spec('golden'), 's');
    await removeWhole(deps, 'golden');
    expect(same(await readImage(deps, 'leaf'), changedFrom(golden, 0, 2))).toBe(true);
    await removeSnapshot(deps, spec('middle'), 's');
    await flatten(deps, 'leaf', small);
    expect((await headerOf(deps, 'middle')).snapshots).toEqual([]);
    await removeWhole(deps, 'middle');
    expect(same(await readImage(deps, 'leaf'), changedFrom(golden, 0, 2))).toBe(true);
  });
});

describe('a clone whose making was cut short', () => {
  /** Registered with the parent by hand, as a creation does first. */
  async function registered(deps: MemorySite): Promise<{ imageId: string; header: Header }> {
    const imageId = newImageId(deps.random);
    const { id } = (await headerOf(deps, 'golden')).snapshots[0]!;
    const child = { imageId, pool: 'rbd', snapshotId: id, cloneFormat: 2 as const, sinceMs: deps.clock.nowMs() };
    const { value: parent } = await updateHeader(deps, spec('golden'), (header) => withChild(header, child));
    const link = { ...parentLink(parent, parent.snapshots[0]!, 2), unnamed: true };
    const options = { sizeBytes: 1, objectBytes: 64 * KiB, initial: { parent: link } };
    return { imageId, header: newHeader(deps, spec('vm'), imageId, options) };
  }

  test('before its header: it is forgotten in time, and cannot appear any more', async () => {
    const deps = await site();
    const { imageId, header } = await registered(deps);
    await removeSnapshot(deps, spec('golden'), 's');
    await expect(removeImage(deps, spec('golden'))).rejects.toMatchObject({ code: 'ENOTEMPTY' }); // it may be under way
    expect(await listChildren(deps, spec('golden'))).toEqual([]);
    deps.clock.advance(hourMs);
    expect((await forgetGone(deps, await headerOf(deps, 'golden'))).snapshots).toEqual([]);
    expect(await createDocument(deps.bucket, headerKey(imageId), header, deps.random)).toBeUndefined();
    expect(await readHeader(deps, imageId)).toBeUndefined();
    await removeImage(deps, spec('golden'));
  });

  test('before its name: it is removed, and a late claim finds that out', async () => {
    const deps = await site();
    const { imageId, header } = await registered(deps);
    const stored = await createDocument(deps.bucket, headerKey(imageId), header, deps.random);
    deps.clock.advance(hourMs);
    expect((await forgetGone(deps, await headerOf(deps, 'golden'))).children).toBeUndefined();
    expect(await replaceDocument(deps.bucket, stored!, header, deps.random)).toBeUndefined();
    await clone(deps, 'vm');
  });

  test('a link that is not made yet is refused after it was forgotten', async () => {
    const deps = await site();
    const { imageId, header } = await registered(deps);
    const { parent: _, ...unlinked } = header;
    const stored = await createDocument(deps.bucket, headerKey(imageId), unlinked, deps.random);
    deps.clock.advance(hourMs);
    await forgetGone(deps, await headerOf(deps, 'golden'));
    expect((await headerOf(deps, 'golden')).children).toBeUndefined();
    expect(await replaceDocument(deps.bucket, stored!, header, deps.random)).toBeUndefined();
  });

  test('collection forgets such children by itself; one that lives stays, whatever its name', async () => {
    const deps = await site();
    await registered(deps);
    await clone(deps, 'vm');
    await renameImage(deps, spec('vm'), 'vm-2');
    deps.clock.advance(hourMs);
    await collect(deps, 'golden');
    expect((await headerOf(deps, 'golden')).children).toHaveLength(1);
    expect((await listChildren(deps, spec('golden'))).map(({ image }) => image)).toEqual(['vm-2']);
  });
});
