// Sessions about an image that is mirrored by its journal while it is in use: what rbd's `journal` commands show of it, replicas that
// are disconnected and come back, and one that is late on purpose.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { AttachedImage } from '../../lib/attach/attached-image.ts';
import { attachLimitsDefault } from '../../lib/attach/limits.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { assert } from '../../lib/errors.ts';
import { parseEpochId } from '../../lib/image/ids.ts';
import type { JournalClient } from '../../lib/mirror/primary/journal-report.ts';
import { StoreClient } from '../site/store-client.ts';
import { Sessions } from './sessions.ts';

const kib = 1024;
const spec = { pool: 'rbd', namespace: '', image: 'vm-1' };
const owner = { lockId: 'auto 1', locker: 'client.1', address: 'here:0/1', sinceMs: 0 };
const a = '--cluster site-a';
const b = '--cluster site-b';

let sessions: Sessions;
let farside: Sessions['farside'];
let session: Sessions['session'];
beforeEach(async () => {
  sessions = await Sessions.start();
  ({ farside, session } = sessions);
  await sessions.pairSites();
  await session([[`${a} create vm-1 --size 1M`], [`${a} mirror image enable vm-1`, 'Mirroring enabled\n']]);
  await sessions.network.settle();
});
afterEach(() => sessions.end());

const client = (): StoreClient => new StoreClient(sessions.network, sessions.site('site-a'));
const attach = (): Promise<AttachedImage> =>
  AttachedImage.open(client().deps, spec, { owner, limits: attachLimitsDefault });

/** One segment, of which the site is told. */
async function flush(image: AttachedImage, seq: number, byte: number): Promise<void> {
  await image.write(0, Buffer.alloc(8 * kib, byte));
  await image.flush();
  await client().journal.advance(spec, { epoch: image.epoch, seq, entry: seq, record: true });
  await sessions.network.settle();
}

async function minutes(count: number): Promise<void> {
  const { clock } = sessions.site('site-a');
  for (let minute = 0; minute < count; minute++) {
    clock.setMs(clock.nowMs() + 60_000);
    await sessions.network.tick();
  }
}

const said = async (line: string): Promise<string> => (await farside(line)).stdout;
const firstByteAtReplica = async (): Promise<number> => (await farside(`${b} export vm-1 -`)).bytes.readUInt8(0);
const description = async (site: string): Promise<string> =>
  JSON.parse(await said(`${site} mirror image status vm-1 --format json`)).description;
const clientStates = async (): Promise<string[]> =>
  JSON.parse(await said(`${a} journal status vm-1 --format json`)).registered_clients.map(
    ({ state }: { state: string }) => state,
  );

test('info and status: where a journal is, who reads it and how far, in all three formats', async () => {
  const image = await attach();
  await sessions.network.settle();
  await flush(image, 1, 1);
  await flush(image, 2, 2);
  await minutes(1);
  const id = image.header.imageId;
  const { mirror_uuid: uuid } = JSON.parse(await said(`${b} mirror pool info rbd --format json`));
  await session([
    [
      `${a} journal info vm-1`,
      `rbd journal '${id}':\n\theader_oid: journal.${id}\n\tobject_oid_prefix: journal_data.${id}.\n\torder: 23 (8 MiB objects)\n\tsplay_width: 1\n`,
    ],
    [
      `${a} journal info vm-1 --format json`,
      `{"journal_id":"${id}","header_oid":"journal.${id}","object_oid_prefix":"journal_data.${id}.","order":23,"splay_width":1}\n`,
    ],
    [
      `${a} journal info vm-1 --format xml`,
      `<journal><journal_id>${id}</journal_id><header_oid>journal.${id}</header_oid><object_oid_prefix>journal_data.${id}.</object_oid_prefix><order>23</order><splay_width>1</splay_width></journal>\n`,
    ],
    [
      `${a} journal status vm-1`,
      'minimum_set: 0\nactive_set: 2\nregistered clients: \n' +
        '\t[id=, commit_position=[positions=[[object_number=0, tag_tid=1, entry_tid=0]]], state=connected]\n' +
        '\t[id=<uuid>, commit_position=[positions=[[object_number=2, tag_tid=1, entry_tid=2], [object_number=1, tag_tid=1, entry_tid=1], [object_number=0, tag_tid=1, entry_tid=0]]], state=connected]\n',
    ],
  ]);
  const positions = (...tids: number[]): unknown => ({
    object_positions: tids.map((tid) => ({ object_number: tid, tag_tid: 1, entry_tid: tid })),
  });
  expect(JSON.parse(await said(`${a} journal status vm-1 --format json`))).toEqual({
    minimum_set: 0,
    active_set: 2,
    registered_clients: [
      { id: '', commit_position: positions(0), state: 'connected' },
      { id: uuid, commit_position: positions(2, 1, 0), state: 'connected' },
    ],
  });
  expect(await said(`${a} journal status vm-1 --format xml`)).toMatch(
    /^<status><minimum_set>0<\/minimum_set><active_set>2<\/active_set><registered_clients><client><id><\/id>.*<state>connected<\/state><\/client><\/registered_clients><\/status>\n$/,
  );
});

test('of an image that nobody has attached positions are points: its newest, and the one that the replica has', async () => {
  const entries = async (): Promise<unknown[]> => {
    const { registered_clients: clients } = JSON.parse(await said(`${a} journal status vm-1 --format json`));
    return clients.map(({ commit_position }: JournalClient) => commit_position.object_positions[0]?.entry_tid);
  };
  await sessions.network.settle();
  const [first] = (await entries()) as [number];
  expect(await entries()).toEqual([first, first]);
  await farside(`${a} bench vm-1 --io-type write --io-size 4096 --io-total 4096`);
  expect(await entries()).toEqual([first + 1, first]);
  await sessions.network.settle();
  expect(await entries()).toEqual([first + 1, first + 1]);
  expect(await said(`${a} journal status vm-1`)).toContain(
    `[positions=[[object_number=0, tag_tid=0, entry_tid=${first + 1}], [object_number=0, tag_tid=0, entry_tid=${first}]`,
  );
  await minutes(1);
  const position = `{"entry_tid":${first + 1},"object_number":0,"tag_tid":0}`;
  expect(await description(b)).toContain(`"non_primary_position":${position},"primary_position":${position}`);
});

test('a replica that is more points behind than rbd_journal_max_concurrent_object_sets is disconnected', async () => {
  await session([[`${a} image-meta set vm-1 conf_rbd_journal_max_concurrent_object_sets 2`]]);
  await sessions.network.settle();
  const states: string[][] = [];
  for (const _ of [1, 2, 3]) {
    await farside(`${a} bench vm-1 --io-type write --io-size 4096 --io-total 4096`);
    states.push(await clientStates());
  }
  const connected = ['connected', 'connected'];
  expect(states).toEqual([connected, connected, ['connected', 'disconnected']]);
});

test('inspect and reset: refused at a replica and while somebody writes; a segment that is damaged is named, and is a failure', async () => {
  const image = await attach();
  await flush(image, 1, 1);
  await flush(image, 2, 2);
  await session([[`${a} journal inspect vm-1`, 'Summary:\n  2 entries inspected, 0 errors\n']]);
  for (const [site, exitCode] of [
    [a, 16],
    [b, 30],
  ] as const) {
    const { exitCode: code, stderr } = await farside(`${site} journal reset vm-1`);
    expect([code, stderr]).toEqual([
      exitCode,
      expect.stringContaining(`farside: failed to reset journal: (${exitCode})`),
    ]);
  }
  await damage(keyText({ kind: 'slot', imageId: image.header.imageId, epoch: parseEpochId(image.epoch), seq: 1 }));
  const inspected = await farside(`${a} journal inspect vm-1`);
  expect(inspected).toMatchObject({ exitCode: 74, stderr: 'farside: the journal has errors\n' });
  expect(inspected.stdout).toMatch(/^segment 1: .+\nSummary:\n {2}1 entries inspected, 1 errors\n$/);
});

test('reset leaves nothing in the journal of an image that nobody writes to, and replicas go on', async () => {
  const image = await attach();
  await flush(image, 1, 1);
  await image.close();
  await session([
    [`${a} journal reset vm-1`],
    [`${a} journal inspect vm-1`, 'Summary:\n  0 entries inspected, 0 errors\n'],
  ]);
  await sessions.network.settle();
  expect(await firstByteAtReplica()).toBe(1);
  const next = await attach();
  await sessions.network.settle();
  await flush(next, 1, 2);
  expect(await firstByteAtReplica()).toBe(2);
});

test('client disconnect: the replica says so and stays as it is, until a resync of it is asked for', async () => {
  const { mirror_uuid: uuid } = JSON.parse(await said(`${b} mirror pool info rbd --format json`));
  const image = await attach();
  await sessions.network.settle();
  await flush(image, 1, 1);
  await session([
    [`${a} journal client disconnect vm-1 --client-id x`, 'farside: client x is not registered\n', 2],
    [`${a} journal client disconnect vm-1 --client-id ${uuid}`, 'client <uuid> disconnected\n'],
  ]);
  await flush(image, 2, 2);
  await minutes(1);
  expect([await firstByteAtReplica(), await clientStates()]).toEqual([1, ['connected', 'disconnected']]);
  const status = JSON.parse(await said(`${b} mirror image status vm-1 --format json`));
  expect([status.state, status.description]).toEqual(['up+error', 'disconnected']);
  expect(await said(`${a} journal status vm-1`)).toContain(', state=disconnected]\n');
  await session([[`${b} mirror image resync vm-1`, 'Flagged image for resync from primary\n']]);
  await sessions.network.settle();
  await minutes(1);
  expect([await firstByteAtReplica(), await clientStates()]).toEqual([2, ['connected', 'connected']]);
  expect(await description(b)).toMatch(/^replaying, /);
});

test('client disconnect: with rbd_mirroring_resync_after_disconnect the replica comes back by itself', async () => {
  await session([[`${a} image-meta set vm-1 conf_rbd_mirroring_resync_after_disconnect true`]]);
  const image = await attach();
  await sessions.network.settle();
  await flush(image, 1, 1);
  await session([[`${a} journal client disconnect vm-1`, 'client <uuid> disconnected\n']]);
  await flush(image, 2, 2);
  await minutes(3);
  expect([await firstByteAtReplica(), await clientStates()]).toEqual([2, ['connected', 'connected']]);
});

test('a replay delay keeps the replica that far behind, whatever is done to the image meanwhile', async () => {
  await session([[`${a} image-meta set vm-1 conf_rbd_mirroring_replay_delay 300`]]);
  await sessions.network.settle();
  const image = await attach();
  await minutes(6);
  await flush(image, 1, 1);
  await session([[`${a} snap create vm-1@after`]]);
  await minutes(3);
  expect([await firstByteAtReplica(), await said(`${b} snap ls vm-1`)]).toEqual([0, '']);
  await minutes(4);
  expect(await firstByteAtReplica()).toBe(1);
  expect(await said(`${b} snap ls vm-1`)).toContain(' after ');
});

test('an image without a journal, or without readers of it, is told apart; entries are counted for the status', async () => {
  await session([
    [`${a} create plain --size 1M`],
    ...['info', 'status', 'inspect', 'client disconnect'].map(
      (verb) => [`${a} journal ${verb} plain`, 'farside: journaling is not enabled for image plain\n', 22] as const,
    ),
    [
      `${a} journal reset plain`,
      'farside: failed to reset journal: (22) Invalid argument\njournaling is not enabled for image plain\n',
      22,
    ],
    [`${a} create alone --size 1M --image-feature exclusive-lock --image-feature journaling`],
    [`${a} journal client disconnect alone`, 'farside: no registered clients to disconnect\n', 2],
    [
      `${a} journal status alone`,
      'minimum_set: 0\nactive_set: 0\nregistered clients: \n\t[id=, commit_position=[positions=[]], state=connected]\n',
    ],
  ]);
  const image = await attach();
  await sessions.network.settle();
  await flush(image, 1, 1);
  await minutes(1);
  const json = /^replaying, (\{.*\})$/.exec(await description(b))?.[1] ?? '';
  const position = { object_number: 1, tag_tid: 1, entry_tid: 1 };
  expect(JSON.parse(json)).toMatchObject({
    entries_behind_primary: 0,
    primary_position: position,
    non_primary_position: position,
  });
});

/** One bit of the last byte. */
async function damage(key: string): Promise<void> {
  const { bucket } = sessions.site('site-a');
  const found = await bucket.get(key);
  assert(found.status === 'found', 'the slot is filled');
  const damaged = Buffer.from(found.body);
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
  await bucket.replace(key, damaged, found.meta.etag);
}
