// The trash of one site: who bears a name when, what is listed, what may go, and what a process that died leaves.

import { beforeEach, describe, expect, test } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { createDocument } from '../../lib/bucket/document.ts';
import { keyText, prefixes } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { openHeader, updateHeader } from '../../lib/image/access.ts';
import { listChildren } from '../../lib/image/clones/children.ts';
import { cloneImage } from '../../lib/image/clones/clone.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { createImage, imageInfo, listImages, removeImage, renameImage } from '../../lib/image/images.ts';
import { startImport } from '../../lib/image/imports/import.ts';
import { removeStep } from '../../lib/image/remove.ts';
import { createSnapshot, removeSnapshot } from '../../lib/image/snapshots.ts';
import {
  hasTrash,
  listTrash,
  moveToTrash,
  purgeTrash,
  removeFromTrash,
  restoreFromTrash,
} from '../../lib/image/trash.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { FakeClock } from './fake-clock.ts';
import { importBytes, readImage, seededRandom, spec } from './model.ts';

const daySeconds = 86_400;
let deps: ImageDeps;
let clock: FakeClock;
let driver: MemoryDriver;
let sent: Message[];
const queue = { send: async (messages: readonly Message[]) => void sent.push(...messages) };

beforeEach(async () => {
  clock = new FakeClock(Date.UTC(2026, 10, 23, 7, 6, 9));
  driver = new MemoryDriver(clock);
  const bucket = new Bucket(driver, { clock, random: systemRandom });
  deps = { bucket, clock, random: systemRandom, settings: settingsDefault };
  sent = [];
  await bucket.create(keyText({ kind: 'pool', pool: 'rbd' }), new Uint8Array());
});

const trashed = (imageId: string, namespace = '') => ({ pool: 'rbd', namespace, imageId });
const namesIn = async (all = true): Promise<string[]> =>
  (await listTrash(deps, 'rbd', '', { all })).images.map(({ name }) => name);
const names = async (): Promise<string[]> => (await listImages(deps, 'rbd', '')).images.map(({ image }) => image);
const create = (name: string): Promise<string> => createImage(deps, spec(name), { sizeBytes: 2 ** 20 });
const code = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: { code: string }) => error.code,
  );
const entries = async (): Promise<number> =>
  (await deps.bucket.list({ prefix: prefixes.trash('rbd'), limit: 100 })).objects.length;

test('there and back again: the name is free meanwhile, content and snapshots come back', async () => {
  const content = seededRandom(1).bytes(300_000);
  await importBytes(deps, 'a', content);
  await createSnapshot(deps, spec('a'), 's');
  const id = await moveToTrash(deps, spec('a'), { delaySeconds: daySeconds });
  expect([await names(), await namesIn(), await entries()]).toEqual([[], ['a'], 1]);
  expect(await code(openHeader(deps, spec('a')))).toBe('ENOENT');
  const other = await create('a');
  expect(await code(restoreFromTrash(deps, trashed(id)))).toBe('EEXIST');
  expect(await namesIn()).toEqual(['a']);
  await restoreFromTrash(deps, trashed(id), 'b');
  expect([await names(), await namesIn(), await entries()]).toEqual([['a', 'b', 'b'], [], 0]);
  expect(Buffer.from(await readImage(deps, 'b')).equals(content)).toBe(true);
  expect((await openHeader(deps, spec('a'))).value.imageId).toBe(other);
});

test('a listing tells who put it there, when, and until when it is kept', async () => {
  const id = await (await create('a'), moveToTrash(deps, spec('a'), { delaySeconds: daySeconds }));
  const [listed] = (await listTrash(deps, 'rbd', '', { all: false })).images;
  expect(listed).toEqual({
    id,
    name: 'a',
    source: 'USER',
    deleted_at: 'Mon Nov 23 07:06:09 2026',
    status: 'protected until Tue Nov 24 07:06:09 2026',
    deferment_end_time: 'Tue Nov 24 07:06:09 2026',
  });
  clock.setMs(clock.nowMs() + daySeconds * 1000);
  expect((await listTrash(deps, 'rbd', '', { all: false })).images[0]!.status).toBe(
    'expired at Tue Nov 24 07:06:09 2026',
  );
});

test('pages end where they say, and namespaces and pools are told apart', async () => {
  for (let index = 0; index < 5; index++) {
    await create(`i${index}`);
    await moveToTrash(deps, spec(`i${index}`), { delaySeconds: index });
  }
  await createDocument(deps.bucket, keyText({ kind: 'namespace', pool: 'rbd', namespace: 'ns' }), {}, deps.random);
  const inSpace = { ...spec('n'), namespace: 'ns' };
  await createImage(deps, inSpace, { sizeBytes: 0 });
  const id = await moveToTrash(deps, inSpace, { delaySeconds: 0 });
  const found: string[] = [];
  let after: string | undefined;
  for (let page = 0; page < 10; page++) {
    const { images, next } = await listTrash(deps, 'rbd', '', { all: true, after, limit: 2 });
    found.push(...images.map(({ name }) => name));
    if (next === undefined) break;
    after = next;
  }
  expect(found).toEqual(['i0', 'i1', 'i2', 'i3', 'i4']);
  expect((await listTrash(deps, 'rbd', 'ns', { all: true })).images.map(({ name }) => name)).toEqual(['n']);
  expect(await code(restoreFromTrash(deps, trashed(id)))).toBe('ENOENT');
  expect(await code(restoreFromTrash(deps, { ...trashed(id, 'ns'), pool: 'other' }))).toBe('ENOENT');
  expect([await hasTrash(deps, 'rbd'), await hasTrash(deps, 'rbd', 'ns'), await hasTrash(deps, 'rbd', 'x')]).toEqual([
    true,
    true,
    false,
  ]);
  expect(await code(listTrash(deps, 'other', '', { all: true }))).toBe('ENOENT');
});

describe('removal', () => {
  test('EPERM before its time, unless forced; its objects and its entry go last', async () => {
    await importBytes(deps, 'a', seededRandom(1).bytes(100_000));
    const id = await moveToTrash(deps, spec('a'), { delaySeconds: 60 });
    expect(await code(removeFromTrash(deps, trashed(id), { queue }))).toBe('EPERM');
    clock.setMs(clock.nowMs() + 60_000);
    await removeFromTrash(deps, trashed(id), { queue });
    expect([await namesIn(), sent]).toEqual([[], [{ type: 'remove', imageId: id }]]);
    expect(await code(restoreFromTrash(deps, trashed(id)))).toBe('ENOENT');
    expect(await removeStep(deps, id)).toBe('done');
    expect(await entries()).toBe(0);
    expect((await deps.bucket.list({ prefix: prefixes.images, limit: 10 })).objects).toEqual([]);
    await create('b');
    const forced = await moveToTrash(deps, spec('b'), { delaySeconds: 60 });
    await removeFromTrash(deps, trashed(forced), { force: true, queue });
    expect(await namesIn()).toEqual([]);
  });

  test('ENOTEMPTY with snapshots; ENOENT for what is not there, or not in the trash', async () => {
    const living = await create('a');
    await createSnapshot(deps, spec('a'), 's');
    expect(await code(removeFromTrash(deps, trashed(living), { force: true, queue }))).toBe('ENOENT');
    await moveToTrash(deps, spec('a'), { delaySeconds: 0 });
    expect(await code(removeFromTrash(deps, trashed(living), { force: true, queue }))).toBe('ENOTEMPTY');
    expect(await code(removeFromTrash(deps, trashed('0'.repeat(24)), { queue }))).toBe('ENOENT');
    expect(await code(removeFromTrash(deps, trashed('x'), { queue }))).toBe('ENOENT');
    expect(await namesIn()).toEqual(['a']);
  });

  test('repeating one whose message was lost wakes it again', async () => {
    await create('a');
    const id = await moveToTrash(deps, spec('a'), { delaySeconds: 0 });
    await removeFromTrash(deps, trashed(id), { queue });
    sent = [];
    expect(await code(removeFromTrash(deps, trashed(id), { queue }))).toBe('ENOENT');
    expect(sent).toEqual([{ type: 'remove', imageId: id }]);
  });

  test('purge: what has expired by then, and nothing with snapshots', async () => {
    for (const name of ['now', 'later', 'snapped']) await create(name);
    await createSnapshot(deps, spec('snapped'), 's');
    clock.setMs(clock.nowMs() + 300); // within a second, of which keys know nothing
    const now = await moveToTrash(deps, spec('now'), { delaySeconds: 0 });
    const later = await moveToTrash(deps, spec('later'), { delaySeconds: 3600 });
    const snapped = await moveToTrash(deps, spec('snapped'), { delaySeconds: 0 });
    const purge = (expiredBeforeMs: number) => purgeTrash(deps, 'rbd', '', { expiredBeforeMs, queue });
    expect(await purge(clock.nowMs() - 1000)).toEqual({ removed: [], kept: [] });
    expect(await purge(clock.nowMs())).toEqual({ removed: [now], kept: [snapped] });
    expect(await purge(clock.nowMs() + 3_600_000)).toEqual({ removed: [later], kept: [snapped] });
  });

  test('purge: one that was had back, and put there again for longer, while it was looked at, stays', async () => {
    await create('a');
    const id = await moveToTrash(deps, spec('a'), { delaySeconds: 0 });
    const put = driver.put.bind(driver);
    let isAgain = false;
    driver.put = async (key, body, condition) => {
      if (!isAgain && Buffer.from(body).includes('"removing":true')) {
        isAgain = true;
        await restoreFromTrash(deps, trashed(id));
        await moveToTrash(deps, spec('a'), { delaySeconds: daySeconds });
      }
      return put(key, body, condition);
    };
    expect(await purgeTrash(deps, 'rbd', '', { expiredBeforeMs: clock.nowMs(), queue })).toEqual({
      removed: [],
      kept: [],
    });
    expect([isAgain, await namesIn()]).toEqual([true, ['a']]);
  });

  test('purge of more than one call takes goes on where it stopped', async () => {
    for (let index = 0; index < 60; index++) {
      await create(`i${index}`);
      await moveToTrash(deps, spec(`i${index}`), { delaySeconds: 0 });
    }
    const options = { expiredBeforeMs: clock.nowMs(), queue };
    const first = await purgeTrash(deps, 'rbd', '', options);
    const second = await purgeTrash(deps, 'rbd', '', { ...options, after: first.next });
    expect([first.removed.length, second.removed.length, second.next]).toEqual([50, 10, undefined]);
  });
});

test('a clone in the trash keeps its parent, and a parent in the trash its clones', async () => {
  const parent = await create('p');
  await createSnapshot(deps, spec('p'), 's');
  const clone = await cloneImage(deps, spec('p'), { name: 's' }, spec('c'));
  await moveToTrash(deps, spec('c'), { delaySeconds: 0 });
  expect((await listTrash(deps, 'rbd', '', { all: true })).images[0]!.parent).toMatchObject({
    image: 'p',
    snapshot: 's',
    trash: false,
  });
  expect(await listChildren(deps, spec('p'))).toMatchObject([{ image: 'c', id: clone, trash: true }]);
  await moveToTrash(deps, spec('p'), { delaySeconds: 0 });
  const remove = (imageId: string) => code(removeFromTrash(deps, trashed(imageId), { byMirroring: true, queue }));
  expect(await remove(parent)).toBe('ENOTEMPTY');
  await restoreFromTrash(deps, trashed(clone));
  expect((await imageInfo(deps, spec('c'))).parent).toMatchObject({ image: 'p', trash: true });
  await moveToTrash(deps, spec('c'), { delaySeconds: 0 });
  expect([await remove(clone), await remove(parent)]).toEqual(['done', 'done']);
});

describe('an image that is in the trash for its clones', () => {
  /** p has a clone c, which has a clone g; the snapshots are gone, as far as users see. */
  async function chain(): Promise<string[]> {
    const parent = await create('p');
    await createSnapshot(deps, spec('p'), 's');
    const clone = await cloneImage(deps, spec('p'), { name: 's' }, spec('c'));
    await createSnapshot(deps, spec('c'), 's');
    await cloneImage(deps, spec('c'), { name: 's' }, spec('g'));
    for (const name of ['p', 'c']) await removeSnapshot(deps, spec(name), 's');
    return [parent, clone];
  }
  const forClones = { delaySeconds: 0, forClones: true };

  test('goes with the last of them, and so does what waited for it; its objects go next', async () => {
    const spent: string[] = [];
    const site = { ...deps, spent: async (imageId: string) => void spent.push(imageId) };
    const ids = await chain();
    for (const name of ['p', 'c']) await moveToTrash(deps, spec(name), forClones);
    expect((await listTrash(deps, 'rbd', '', { all: false })).images.map(({ source }) => source)).toEqual(
      Array(2).fill('USER_PARENT'),
    );
    await removeImage(site, spec('g'));
    expect([await namesIn(), spent]).toEqual([[], ids.toReversed()]);
    for (const imageId of ids) expect(await removeStep(deps, imageId)).toBe('done');
    expect(await entries()).toBe(0);
  });

  test('stays when it has been restored, when a user put it there, and while it has snapshots', async () => {
    const [parent] = await chain();
    await moveToTrash(deps, spec('p'), forClones);
    await restoreFromTrash(deps, trashed(parent!));
    await moveToTrash(deps, spec('c'), { delaySeconds: 0 });
    await removeImage(deps, spec('g'));
    expect([await names(), await namesIn()]).toEqual([['p'], ['c']]);
  });

  test('is not put there when something else holds it, or nothing does', async () => {
    await chain();
    await createSnapshot(deps, spec('p'), 'mine');
    expect(await code(moveToTrash(deps, spec('p'), forClones))).toBe('EAGAIN');
    expect(await code(moveToTrash(deps, spec('g'), forClones))).toBe('EAGAIN');
    expect([await namesIn(), await entries()]).toEqual([[], 0]);
  });
});

describe('an image in the trash is nobody’s to use', () => {
  test('it is not renamed, written, snapshotted or removed by its old name', async () => {
    await create('a');
    const base = await openHeader(deps, spec('a'));
    const running = await startImport(deps, spec('a'), { update: true });
    await running.write(0, seededRandom(1).bytes(4096));
    await moveToTrash(deps, spec('a'), { delaySeconds: 0 });
    expect(await code(running.finish(2 ** 20))).toBe('ENOENT');
    expect(await code(renameImage(deps, spec('a'), 'b'))).toBe('ENOENT');
    expect(await code(createSnapshot(deps, spec('a'), 's'))).toBe('ENOENT');
    expect(await code(removeImage(deps, spec('a')))).toBe('ENOENT');
    expect(await code(updateHeader(deps, base.value.imageId, (header) => ({ ...header, sizeBytes: 1 })))).toBe(
      'ENOENT',
    );
    expect(await code(moveToTrash(deps, spec('a'), { delaySeconds: 0 }))).toBe('ENOENT');
  });

  test('non-primary images stay where they are', async () => {
    await create('a');
    await updateHeader(deps, spec('a'), (header) => ({ ...header, features: [...header.features, 'non-primary'] }));
    expect(await code(moveToTrash(deps, spec('a'), { delaySeconds: 0 }))).toBe('EINVAL');
    expect(await entries()).toBe(0);
  });
});

describe('races and deaths', () => {
  test('two at once: one wins, and one entry is left', async () => {
    await create('a');
    const results = await Promise.all([1, 2, 3].map(() => code(moveToTrash(deps, spec('a'), { delaySeconds: 0 }))));
    expect(results.toSorted()).toEqual(['ENOENT', 'ENOENT', 'done']);
    expect([await namesIn(), await entries()]).toEqual([['a'], 1]);
    const [image] = (await listTrash(deps, 'rbd', '', { all: true })).images;
    const restores = await Promise.all(
      ['x', 'y', 'z'].map((name) => code(restoreFromTrash(deps, trashed(image!.id), name))),
    );
    expect(restores.toSorted()).toEqual(['ENOENT', 'ENOENT', 'done']);
    expect([(await names()).length, await entries()]).toEqual([1, 0]);
  });

  test('restored while somebody takes the name: one of them has it', async () => {
    for (let round = 0; round < 10; round++) {
      await create(`a${round}`);
      const id = await moveToTrash(deps, spec(`a${round}`), { delaySeconds: 0 });
      const results = await Promise.all([code(restoreFromTrash(deps, trashed(id))), code(create(`a${round}`))]);
      expect(results.toSorted()).toEqual(['EEXIST', 'done']);
      expect((await names()).filter((name) => name === `a${round}`)).toHaveLength(1);
    }
  });

  test('a process that dies at any request leaves the image in one place, and a repetition ends well', async () => {
    for (let requests = 0; requests < 12; requests++) {
      const name = `a${requests}`;
      const id = await create(name);
      await code(moveToTrash(dyingAfter(requests), spec(name), { delaySeconds: 0 }));
      const [outside, inside] = [(await names()).includes(name), (await namesIn()).includes(name)];
      expect([outside, inside]).toContain(true);
      expect(outside && inside).toBe(false);
      if (outside) await moveToTrash(deps, spec(name), { delaySeconds: 0 });
      await create(name); // the name is free, whatever the dead left of it
      await code(restoreFromTrash(dyingAfter(requests), trashed(id), `${name}-back`));
      const back = (await names()).includes(`${name}-back`);
      expect((await namesIn()).includes(name)).toBe(!back);
      if (!back) await restoreFromTrash(deps, trashed(id), `${name}-back`);
      expect((await names()).includes(`${name}-back`)).toBe(true);
    }
  });
});

/** A process that is gone after so many requests to the bucket. */
function dyingAfter(requests: number): ImageDeps {
  let left = requests;
  const mortal = new Proxy(driver, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (left-- <= 0) throw new Error('dead');
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
  return { ...deps, bucket: new Bucket(mortal, { clock, random: systemRandom }) };
}
