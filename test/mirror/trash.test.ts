// Replicas in the trash: what happens when one is put there while a tick looks, and when somebody dies on the way.

import { beforeEach, expect, test, vi } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { prefixes } from '../../lib/bucket/keys.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import { openHeader, readHeader, updateHeader } from '../../lib/image/access.ts';
import { settingsDefault } from '../../lib/image/deps.ts';
import type { Header } from '../../lib/image/header.ts';
import { createImage, listImages } from '../../lib/image/images.ts';
import { removeStep } from '../../lib/image/remove.ts';
import { listTrash } from '../../lib/image/trash.ts';
import { addToCatalog, readCatalog } from '../../lib/mirror/peers/catalog.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import { limitsDefault } from '../../lib/mirror/limits.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { createPool, readPool, type PoolRegistry } from '../../lib/mirror/pool.ts';
import { finishRemoval, removeReplica } from '../../lib/mirror/replica/replica.ts';
import { expireTrash } from '../../lib/mirror/verbs/trash.ts';
import { systemRandom } from '../../lib/random.ts';
import { FakeClock } from '../image/fake-clock.ts';
import { spec } from '../image/model.ts';

const registry: PoolRegistry = { names: async () => ['rbd'], add: async () => {}, remove: async () => {} };
const unused = async (): Promise<never> => {
  throw new Error('not asked for here');
};

let deps: MirrorDeps;
let clock: FakeClock;
let sent: Message[];

beforeEach(async () => {
  clock = new FakeClock(Date.UTC(2026, 10, 23));
  sent = [];
  deps = {
    bucket: new Bucket(new MemoryDriver(clock), { clock, random: systemRandom }),
    clock,
    random: systemRandom,
    settings: settingsDefault,
    limits: { ...limitsDefault, cacheMs: 0 },
    queue: { send: async (messages) => void sent.push(...messages) },
    site: { siteId: 's', name: 'b', url: '', seal: unused, unseal: unused },
    peers: unused,
  };
  await createPool(deps, registry, 'rbd');
});

/** A complete replica, by the header alone. */
async function replica(name: string, delaySeconds: number): Promise<string> {
  const globalId = `global-${name}`;
  const meta = { conf_rbd_mirroring_delete_delay: String(delaySeconds) };
  const mirror = { mode: 'snapshot' as const, state: 'enabled' as const, globalId };
  const imageId = await createImage(deps, spec(name), { sizeBytes: 0, initial: { meta, mirror } });
  const entry = { imageId, namespace: '', name, addedAtMs: clock.nowMs(), replica: true };
  await addToCatalog(deps, 'rbd', globalId, entry);
  return globalId;
}

const giveUp = async (name: string): Promise<unknown> =>
  removeReplica(deps, 'rbd', `global-${name}`, await openHeader(deps, spec(name)));
const inTrash = async (): Promise<string[]> =>
  (await listTrash(deps, 'rbd', '', { all: true })).images.map(({ name }) => name);
const dueAtMs = async (): Promise<number | undefined> => (await readPool(deps, 'rbd')).value.trash?.dueAtMs;
const look = async (): Promise<void> => expireTrash(deps, (await readPool(deps, 'rbd')).value);
const after = (seconds: number): void => clock.setMs(clock.nowMs() + seconds * 1000);

async function handleRemovals(): Promise<void> {
  for (const message of sent.splice(0)) if (message.type === 'remove') await removeStep(deps, message.imageId);
}

test('without a delay a replica is gone at once; with one it waits, unmirrored', async () => {
  await replica('now', 0);
  await replica('later', 60);
  await giveUp('now');
  await giveUp('later');
  expect(await inTrash()).toEqual(['later']);
  expect(await readCatalog(deps, 'rbd')).toEqual({});
  expect((await listImages(deps, 'rbd', '')).images).toEqual([]);
  expect(await dueAtMs()).toBe(clock.nowMs() + 60_000);
});

test('a look removes what is due, oldest first, and says when to look next', async () => {
  for (const [name, delay] of [
    ['c', 300],
    ['a', 60],
    ['b', 120],
  ] as const) {
    await replica(name, delay);
    await giveUp(name);
  }
  after(60);
  await look();
  expect(await inTrash()).toEqual(['b', 'c']);
  await handleRemovals();
  after(60);
  await look();
  expect(await inTrash()).toEqual(['c']);
  await handleRemovals();
  await look(); // not due: a removal may be under way
  after(60);
  await look();
  expect(await dueAtMs()).toBe(Math.ceil(clock.nowMs() / 1000) * 1000 + 120_000);
  after(120);
  await look();
  await handleRemovals();
  after(60);
  await look();
  expect([await inTrash(), await dueAtMs()]).toEqual([[], undefined]);
});

test('a replica that is put there while a tick looks is not forgotten', async () => {
  await replica('a', 10);
  await giveUp('a');
  await replica('b', 20);
  after(10);
  const { bucket } = deps;
  const list = bucket.list.bind(bucket);
  vi.spyOn(bucket, 'list').mockImplementationOnce(async (options) => {
    const page = await list(options);
    await giveUp('b'); // after the list was taken, before the tick says when to look next
    return page;
  });
  await look();
  expect(await inTrash()).toEqual(['b']);
  await handleRemovals();
  for (let minute = 0; minute < 4; minute++) {
    after(60);
    await look();
    await handleRemovals();
  }
  expect([await inTrash(), await dueAtMs()]).toEqual([[], undefined]);
});

test('a removal whose message was lost is sent again by the next look', async () => {
  await replica('a', 10);
  await giveUp('a');
  after(10);
  await look();
  expect(sent.splice(0)).toHaveLength(1);
  after(60);
  await look();
  expect(sent).toMatchObject([{ type: 'remove' }]);
});

test('an image that was restored is not removed when its time would have come', async () => {
  await replica('a', 10);
  const { imageId } = (await openHeader(deps, spec('a'))).value;
  await giveUp('a');
  // As a restoration that died before it removed the entry.
  const restored = ({ trash: _, ...header }: Header): Header => header;
  await updateHeader(deps, imageId, restored, { byMirroring: true });
  after(10);
  await look();
  expect((await readHeader(deps, imageId))?.value.removing).toBeUndefined();
  after(2 * 86_400);
  await look();
  expect((await deps.bucket.list({ prefix: prefixes.trash('rbd'), limit: 10 })).objects).toEqual([]);
  expect(await dueAtMs()).toBeUndefined();
});

test('an entry that no image bears is looked at each minute at first, then the more rarely the older it is, and is gone after a day', async () => {
  await replica('a', 10);
  const { imageId } = (await openHeader(deps, spec('a'))).value;
  const putAtMs = clock.nowMs();
  await giveUp('a');
  await updateHeader(deps, imageId, ({ trash: _, ...header }) => header, { byMirroring: true });
  const looks: { ageMs: number; waitMs: number }[] = [];
  for (let due = await dueAtMs(); due !== undefined; due = await dueAtMs()) {
    clock.setMs(due);
    await look();
    const next = await dueAtMs();
    if (next !== undefined) looks.push({ ageMs: due - putAtMs, waitMs: next - due });
  }
  const dayMs = 86_400_000;
  expect(looks[0]).toEqual({ ageMs: 10_000, waitMs: 60_000 });
  for (const { ageMs, waitMs } of looks) expect(waitMs).toBe(Math.max(60_000, ageMs));
  expect(looks).toHaveLength(1 + Math.ceil(Math.log2(dayMs / 70_000)));
  expect(clock.nowMs() - putAtMs).toBeGreaterThanOrEqual(dayMs);
  expect(clock.nowMs() - putAtMs).toBeLessThan(2 * dayMs);
  expect((await deps.bucket.list({ prefix: prefixes.trash('rbd'), limit: 10 })).objects).toEqual([]);
  expect((await readHeader(deps, imageId))?.value.removing).toBeUndefined();
});

test('an attempt that was slow is finished by a look that comes within its own age again', async () => {
  await replica('a', 10);
  const { imageId } = (await openHeader(deps, spec('a'))).value;
  await giveUp('a');
  const { trash } = (await readHeader(deps, imageId))!.value;
  await updateHeader(deps, imageId, ({ trash: _, ...header }) => header, { byMirroring: true });
  after(10);
  await look();
  after(300);
  await look();
  await updateHeader(deps, imageId, (header) => ({ ...header, trash: trash! }), { byMirroring: true });
  after(309);
  await look();
  expect(sent.splice(0)).toEqual([]);
  after(1);
  await look();
  expect(sent).toMatchObject([{ type: 'remove', imageId }]);
});

test('a promotion that comes first keeps the image, and no entry is left', async () => {
  await replica('a', 10);
  const stale = await openHeader(deps, spec('a'));
  await updateHeader(deps, stale, (header) => ({ ...header, mirror: { ...header.mirror!, globalId: 'another' } }), {
    byMirroring: true,
  });
  expect(await removeReplica(deps, 'rbd', 'global-a', stale)).toBe('done');
  expect(await inTrash()).toEqual([]);
  expect((await deps.bucket.list({ prefix: prefixes.trash('rbd'), limit: 10 })).objects).toEqual([]);
});

test('whoever finds a replica half put away finishes it', async () => {
  const globalId = await replica('a', 10);
  const entry = (await readCatalog(deps, 'rbd'))[globalId]!;
  await giveUp('a');
  await addToCatalog(deps, 'rbd', globalId, entry); // as if the process had died after the swap
  expect(await finishRemoval(deps, 'rbd', globalId, entry)).toBe('done');
  expect([await readCatalog(deps, 'rbd'), await inTrash()]).toEqual([{}, ['a']]);
});
