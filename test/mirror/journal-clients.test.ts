// Who reads a journal, as rbd's `journal` commands show it, and replicas that are disconnected from one.

import { describe, expect, test } from 'vitest';

import { keyText } from '../../lib/bucket/keys.ts';
import { updateHeader } from '../../lib/image/access.ts';
import type { Header } from '../../lib/image/header.ts';
import { setMeta } from '../../lib/image/meta.ts';
import { advanceJournal } from '../../lib/mirror/primary/advance.ts';
import { disconnectClients } from '../../lib/mirror/primary/disconnect.ts';
import { enableImage, resyncImage } from '../../lib/mirror/verbs/images.ts';
import { inspectJournal, journalInfo, journalStatus, resetJournal } from '../../lib/mirror/primary/journal-report.ts';
import { readPool } from '../../lib/mirror/pool.ts';
import { imageStatus } from '../../lib/mirror/status/status.ts';
import { advance, attach, expectEqual, headOf, kib, mirrored, paired, put } from './journal-world.ts';
import { headerOf, spec, type World } from './two-sites.ts';

const mirrorUuidOf = async (world: World): Promise<string> =>
  (await world.run(readPool(world.b.deps, 'rbd'))).value.mirror!.mirrorUuid;

function withoutSync(header: Header): Header {
  const { sync: _, ...mirror } = header.mirror!;
  return { ...header, mirror };
}

const states = async (world: World): Promise<string[]> =>
  (await world.run(journalStatus(world.a.deps, spec('disk')))).registered_clients.map(({ state }) => state);

describe('a journal and its clients', () => {
  test('the image itself and each replica, with their positions', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await world.settle();
    await put(world, image, 0, 1);
    await put(world, image, 16 * kib, 2);
    await advance(world, world.a);
    await world.minute();
    const positions = [2, 1, 0].map((tid) => ({ object_number: tid, tag_tid: 1, entry_tid: tid }));
    expect(await world.run(journalStatus(world.a.deps, spec('disk')))).toEqual({
      minimum_set: 0,
      active_set: 2,
      registered_clients: [
        {
          id: '',
          commit_position: { object_positions: [{ object_number: 0, tag_tid: 1, entry_tid: 0 }] },
          state: 'connected',
        },
        { id: await mirrorUuidOf(world), commit_position: { object_positions: positions }, state: 'connected' },
      ],
    });
    const { imageId } = await headerOf(world.a, 'disk');
    expect(await world.run(journalInfo(world.a.deps, spec('disk')))).toMatchObject({ journal_id: imageId });
  });

  test('inspection counts entries, and names a segment that is damaged', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await put(world, image, 16 * kib, 2);
    expect(await world.run(inspectJournal(world.a.deps, spec('disk')))).toEqual({ entries: 2, errors: [] });
    const { bucket } = world.a.deps;
    const { imageId } = await headerOf(world.a, 'disk');
    const key = keyText({ kind: 'slot', imageId, epoch: image.epoch, seq: 0 });
    const found = await bucket.get(key);
    if (found.status !== 'found') throw new Error('there is no segment');
    const damaged = Buffer.from(found.body);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    await bucket.replace(key, damaged, found.meta.etag);
    const { entries, errors } = await world.run(inspectJournal(world.a.deps, spec('disk')));
    expect(entries).toBe(1);
    expect(errors.map(({ object_number }) => object_number)).toEqual([0]);
  });

  test('a reset is refused while somebody writes, and then leaves nothing in the journal', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await expect(world.run(resetJournal(world.a.deps, spec('disk')))).rejects.toMatchObject({ code: 'EBUSY' });
    await world.run(image.close());
    await world.run(resetJournal(world.a.deps, spec('disk')));
    await world.settle();
    expect(await world.run(inspectJournal(world.a.deps, spec('disk')))).toEqual({ entries: 0, errors: [] });
    await expectEqual(world);
  });

  test('without journaling there is nothing to show', async () => {
    const world = await paired();
    await expect(journalStatus(world.a.deps, spec('disk'))).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

describe('a disconnected replica', () => {
  test('says so, and stays as it is until it is resynced', async () => {
    const world = await mirrored();
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await advance(world, world.a);
    const before = await headOf(world, world.b);
    expect(await world.run(disconnectClients(world.a.deps, spec('disk')))).toEqual([await mirrorUuidOf(world)]);
    await put(world, image, 0, 2);
    await advance(world, world.a);
    await world.minute();
    expect((await headOf(world, world.b)).equals(before)).toBe(true);
    expect(await states(world)).toEqual(['connected', 'disconnected']);
    const { description, state } = await world.run(imageStatus(world.b.deps, spec('disk')));
    expect([state?.split('+')[1], description]).toEqual(['error', 'disconnected']);
    await world.run(resyncImage(world.b.deps, spec('disk')));
    await world.settle();
    await world.minute();
    await expectEqual(world);
    expect(await states(world)).toEqual(['connected', 'connected']);
  });

  test('asks for a resync itself where the option says so', async () => {
    const world = await mirrored();
    await world.run(setMeta(world.a.deps, spec('disk'), 'conf_rbd_mirroring_resync_after_disconnect', 'true'));
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await advance(world, world.a);
    await world.run(disconnectClients(world.a.deps, spec('disk')));
    await put(world, image, 0, 2);
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    await expectEqual(world);
    expect(await states(world)).toEqual(['connected', 'connected']);
  });

  test('is one that is more segments behind than the option allows', async () => {
    const world = await mirrored();
    await world.run(setMeta(world.a.deps, spec('disk'), 'conf_rbd_journal_max_concurrent_object_sets', '3'));
    const image = await attach(world, world.a);
    await put(world, image, 0, 1);
    await advance(world, world.a);
    await world.minute();
    world.b.isDown = true;
    const tell = (seq: number): Promise<void> =>
      world.run(advanceJournal(world.a.deps, spec('disk'), { epoch: image.epoch, seq, record: true }));
    await tell(4);
    expect(await states(world)).toEqual(['connected', 'connected']);
    await tell(5);
    expect(await states(world)).toEqual(['connected', 'disconnected']);
  });

  test('before its first copy is whole it is copied all the same, and connected by that', async () => {
    const world = await paired({ limits: { inlineBytesMax: 1, pieceBytesMax: 32 * kib } });
    world.b.delivery = { lost: ({ type }) => type !== 'sync', doubledShare: 0, shuffled: false };
    await world.run(enableImage(world.a.deps, spec('disk'), 'journal'));
    await world.settle();
    expect((await headerOf(world.b, 'disk')).mirror).toMatchObject({ state: 'creating', sync: {} });
    await world.run(disconnectClients(world.a.deps, spec('disk')));
    world.b.restart();
    await world.run(updateHeader(world.b.deps, spec('disk'), withoutSync, { byMirroring: true })); // given up
    world.b.delivery = { ...world.b.delivery, lost: () => false };
    for (let minutes = 0; minutes < 3; minutes++) await world.minute();
    await expectEqual(world);
    expect(await states(world)).toEqual(['connected', 'connected']);
  });

  test('there has to be one', async () => {
    const world = await mirrored();
    await expect(disconnectClients(world.a.deps, spec('disk'), 'x')).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
