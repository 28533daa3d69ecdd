// Sessions about the trash: rbd's words, mirrored images, and the delete delay of replicas.

import { expect, test } from 'vitest';
import { prefixes } from '../../lib/bucket/keys.ts';
import { content, eachWithSessions } from './sessions.ts';

const { current, farside, session } = eachWithSessions();

const a = '--cluster site-a';
const b = '--cluster site-b';
const idOf = async (line: string): Promise<string> => JSON.parse((await farside(`${line} --format json`)).stdout).id;
const trashOf = async (cluster: string, options = '--all --long'): Promise<Record<string, string>[]> =>
  JSON.parse((await farside(`${cluster} trash ls ${options} rbd --format json`)).stdout);

test("rbd's words for every verb of the trash", async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} trash ls`],
    [`${a} trash ls --long`],
    [`${a} trash ls rbd --format json`, '[]\n'],
    [`${a} trash ls rbd/none`, "farside: namespace 'none' does not exist.\n", 2],
    [`${a} trash purge rbd/none`, "farside: namespace 'none' does not exist.\n", 2],
    [`${a} trash rm nothing`, expect.stringContaining('remove error: (2) No such file or directory'), 2],
    [`${a} trash ls other`, "farside: error opening pool 'other': (2) No such file or directory\n", 2],
    [
      `${a} trash mv vm-1`,
      'farside: deferred delete error: (2) No such file or directory\nerror opening image vm-1\n',
      2,
    ],
    [`${a} create vm-1 --size 8M`],
    [
      `${a} trash mv vm-1 --expires-at 2020-01-01`,
      'farside: cannot use a date in the past as an expiration date\n',
      22,
    ],
    [
      `${a} trash mv vm-1 --expires-at soonish`,
      "farside: invalid date 'soonish': use now, YYYY-MM-DD, YYYY-MM-DDThh:mm:ssZ, or what date(1) reads\n",
      22,
    ],
  ]);
  const id = await idOf(`${a} info vm-1`);
  await session([
    [`${a} trash mv vm-1 --expires-at 2199-01-01`],
    [`${a} ls`],
    [`${a} trash ls`, `${id} vm-1\n`],
    [`${a} trash ls --format json`, `[{"id":"${id}","name":"vm-1"}]\n`],
    [
      `${a} trash rm ${id}`,
      'farside: Deferment time has not expired, please use --force if you really want to remove the image\n',
      1,
    ],
    [`${a} trash purge`],
    [`${a} trash rm`, 'farside: image id was not specified\n', 22],
    [
      `${a} trash rm 0123456789abcdef01234567`,
      'farside: remove error: (2) No such file or directory\nimage does not exist in trash\n',
      2,
    ],
    [`${a} trash restore 0123456789abcdef01234567`, 'farside: error: image does not exist in trash\n', 2],
    [`${a} create vm-1 --size 8M`],
    [
      `${a} trash restore ${id}`,
      'farside: error: an image with the same name already exists, try again with with a different name\n',
      17,
    ],
    [`${a} trash restore --image vm-2 rbd/${id}`],
    [`${a} ls`, 'vm-1\nvm-2\n'],
    [`${a} snap create vm-2@s`],
    [`${a} trash move vm-2`],
    [`${a} pool rm rbd`, 'farside: pool rbd has images: remove them first, also from the trash\n', 39],
    [
      `${a} trash rm --image-id ${id}`,
      "farside: image has snapshots - these must be deleted with 'farside snap purge' before the image can be removed.\nRestore it first: farside trash restore\n",
      39,
    ],
    [
      `${a} trash purge`,
      `farside: some expired images could not be removed\nThey have snapshots, which must be removed after 'farside trash restore': ${id}\n`,
      39,
    ],
    [
      `${a} trash purge --threshold 0.5`,
      'a bucket has no capacity, so its usage is below every threshold: nothing was removed\n',
    ],
    [
      `${a} trash purge --threshold 1.5`,
      "farside: remove error: (22) Invalid argument\nargument 'threshold' is out of valid range\n",
      22,
    ],
    [`${a} trash restore ${id}`],
    [`${a} snap purge vm-2`],
    [`${a} trash mv vm-2`],
    [`${a} trash purge --expired-before 2020-01-01`],
    [`${a} trash ls`, `${id} vm-2\n`],
    [`${a} trash purge`],
    [`${a} trash ls`],
  ]);
});

test('a long listing', async () => {
  await session([[`${a} pool create rbd`], [`${a} create vm-1 --size 8M`]]);
  const id = await idOf(`${a} info vm-1`);
  await session([
    [`${a} trash mv vm-1`],
    [
      `${a} trash ls -l`,
      [
        'ID                        NAME  SOURCE  DELETED_AT                STATUS                               PARENT\n',
        `${id}  vm-1  USER    Mon Nov 23 07:06:09 2026  expired at Mon Nov 23 07:06:09 2026        \n`,
      ].join(''),
    ],
  ]);
});

test('rm moves to the trash where options say so', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} config pool set rbd rbd_move_to_trash_on_remove true`],
    [`${a} config image set vm-1 rbd_move_to_trash_on_remove_expire_seconds 3600`],
    [`${a} rm vm-1`],
  ]);
  expect(await trashOf(a)).toMatchObject([
    { name: 'vm-1', source: 'USER', status: 'protected until Mon Nov 23 08:06:09 2026' },
  ]);
});

test('one rm may say by itself whether it moves to the trash, and for how long', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} create vm-2 --size 8M`],
    [`${a} rm --rbd_move_to_trash_on_remove=true --rbd_move_to_trash_on_remove_expire_seconds=3600 vm-1`],
  ]);
  const kept = { name: 'vm-1', source: 'USER', status: 'protected until Mon Nov 23 08:06:09 2026' };
  expect(await trashOf(a)).toMatchObject([kept]);
  await session([
    [`${a} config pool set rbd rbd_move_to_trash_on_remove true`],
    [`${a} rm vm-2 --rbd-move-to-trash-on-remove false`],
    [
      `${a} rm vm-2 --rbd-move-to-trash-on-remove maybe`,
      "farside: the argument for option '--rbd-move-to-trash-on-remove' is invalid\n",
      1,
    ],
  ]);
  expect(await trashOf(a)).toMatchObject([kept]);
});

test('in mode pool an image that is back from the trash is mirrored, and a clone with its parent', async () => {
  const journaling = '--image-feature layering,exclusive-lock,journaling';
  const modeOf = async (image: string): Promise<unknown> =>
    (await farside(`${a} info ${image}`)).stdout.match(/mirroring mode: (\w+)/)?.[1];
  await current().pairSites();
  await session([[`${a} create vm-1 --size 8M ${journaling}`], [`${a} trash mv vm-1`]]);
  const [{ id }] = (await trashOf(a)) as [{ id: string }];
  await farside(`${a} mirror pool enable rbd pool`);
  await session([
    [`${a} trash restore ${id}`],
    [`${a} snap create vm-1@s`],
    [`${a} clone vm-1@s vm-2 ${journaling}`],
    [`${a} create plain --size 8M`],
    [`${a} snap create plain@s`],
    [`${a} clone plain@s vm-3 ${journaling}`],
  ]);
  expect(await Promise.all(['vm-1', 'vm-2', 'vm-3'].map(modeOf))).toEqual(['journal', 'journal', undefined]);
});

test('trash mv ends mirroring by the journal and leaves journaling on, so that mode pool mirrors the image when it is back', async () => {
  await current().pairSites();
  await farside(`${a} mirror pool enable rbd pool`);
  await session([
    [`${a} create vm-1 --size 8M --image-feature layering,exclusive-lock,journaling`],
    [`${a} trash mv vm-1`],
  ]);
  const [{ id }] = (await trashOf(a)) as [{ id: string }];
  const { stdout } = await farside(`${a} info --image-id ${id}`);
  expect(stdout).toContain('features: layering, exclusive-lock, journaling');
  expect(stdout).not.toContain('mirroring');
  await session([[`${a} trash restore ${id}`]]);
  expect((await farside(`${a} info vm-1`)).stdout).toContain('mirroring mode: journal');
});

test('rm moves an image that only clones hold to the trash, where it is asked, until the last of them is gone', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} snap create vm-1@s`],
    [`${a} clone vm-1@s vm-2`],
    [`${a} clone vm-1@s vm-3`],
  ]);
  const refused = await farside(`${a} rm vm-1 --rbd-move-parent-to-trash-on-remove=true`);
  expect([refused.exitCode, refused.stderr]).toEqual([39, expect.stringContaining('image has snapshots')]);
  await session([[`${a} snap rm vm-1@s`]]);
  expect((await farside(`${a} rm vm-1`)).exitCode).toBe(39);
  await session([[`${a} rm vm-1 --rbd_move_parent_to_trash_on_remove=true`], [`${a} rm vm-2`]]);
  expect(await trashOf(a)).toMatchObject([{ name: 'vm-1', source: 'USER_PARENT' }]);
  await session([[`${a} flatten vm-3`], [`${a} trash ls -a`], [`${a} ls`, 'vm-3\n']]);
});

test('trash purge takes a chain of clones, though parents expired first', async () => {
  await session([[`${a} pool create rbd`], [`${a} create vm-1 --size 8M`]]);
  for (const [parent, clone] of [
    ['vm-1', 'vm-2'],
    ['vm-2', 'vm-3'],
  ])
    await session([
      [`${a} snap create ${parent}@s`],
      [`${a} clone ${parent}@s ${clone}`],
      [`${a} snap rm ${parent}@s`],
    ]);
  for (const name of ['vm-1', 'vm-2', 'vm-3']) await session([[`${a} trash mv ${name}`]]);
  expect((await farside(`${a} trash purge --no-progress`)).exitCode).toBe(0);
  expect(await trashOf(a)).toEqual([]);
});

async function mirroredImage(): Promise<void> {
  await current().pairSites();
  await farside(`${a} import - vm-1`, content('one', 200_000));
  await session([[`${a} snap create vm-1@s`], [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n']]);
  await current().network.settle();
  await session([[`${b} ls`, 'vm-1\n']]);
}

test('a mirrored primary takes its replica along, and comes back unmirrored; a replica is not moved', async () => {
  await mirroredImage();
  await session([
    [
      `${b} trash mv vm-1`,
      'farside: deferred delete error: (22) Invalid argument\nmirrored image is not primary, add force option to disable mirroring\n',
      22,
    ],
    [`${b} trash ls`],
  ]);
  const [id, replicaId] = [await idOf(`${a} info vm-1`), await idOf(`${b} info vm-1`)];
  await session([[`${a} trash mv vm-1`]]);
  await current().network.settle();
  await session([
    [`${b} ls`],
    [`${b} trash ls --all`, `${replicaId} vm-1\n`],
    [`${a} trash restore ${id}`],
    [`${a} mirror image status vm-1`, 'farside: mirroring not enabled on the image\n', 22],
    [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n'],
  ]);
  await current().network.settle();
  await session([[`${b} ls`, 'vm-1\n'], [`${b} trash ls --all`]]);
  expect(await idOf(`${b} info vm-1`)).toBe(replicaId);
});

test('with a delete delay a replica waits in the trash, can be had back, and goes when it is over', async () => {
  await mirroredImage();
  const id = await idOf(`${b} info vm-1`);
  await session([
    [`${b} config pool set rbd rbd_mirroring_delete_delay 3600`],
    [`${a} mirror image disable vm-1`, 'Mirroring disabled\n'],
  ]);
  await current().network.settle();
  await session([[`${b} ls`], [`${b} trash ls`], [`${b} trash ls --all`, `${id} vm-1\n`]]);
  expect(await trashOf(b)).toMatchObject([
    { id, name: 'vm-1', source: 'MIRRORING', status: expect.stringMatching(/^protected until/) as string },
  ]);
  await session([[`${b} trash restore ${id}`]]);
  const { stdout } = await farside(`${b} snap ls --all vm-1 --format json`);
  expect(JSON.parse(stdout)).toMatchObject([{ name: 's', namespace: { type: 'user' } }]);
  expect((await farside(`${b} export vm-1 -`)).bytes.equals(content('one', 200_000))).toBe(true);
  await session([[`${b} rename vm-1 kept`], [`${b} snap create kept@mine`]]);
});

test('what the delete delay kept is removed by ticks, with its snapshots; a look that was not due costs nothing', async () => {
  await mirroredImage();
  const site = current().site('site-b');
  const images = async (): Promise<number> =>
    (await site.bucket.list({ prefix: prefixes.images, limit: 10 })).objects.length;
  await session([
    [`${b} config image set vm-1 rbd_mirroring_delete_delay 7200`, expect.stringContaining('Read-only') as string, 30],
    [`${a} config image set vm-1 rbd_mirroring_delete_delay 7200`],
    [`${a} mirror image snapshot vm-1`, expect.stringContaining('Snapshot ID') as string],
  ]);
  await current().network.settle();
  await session([[`${a} mirror image disable vm-1`, 'Mirroring disabled\n']]);
  await current().network.settle();
  expect(await trashOf(b)).toHaveLength(1);
  const idleTick = async (): Promise<number> => {
    const before = site.bucket.counts();
    await site.site.tick(site.clock.nowMs());
    const after = site.bucket.counts();
    return after.A - before.A;
  };
  await current().network.tick();
  expect(await idleTick()).toBeLessThanOrEqual(2);
  expect(await images()).toBeGreaterThan(0);
  site.clock.setMs(site.clock.nowMs() + 7200_000);
  await current().network.tick();
  expect([await trashOf(b), await images()]).toEqual([[], 0]);
  site.clock.setMs(site.clock.nowMs() + 61_000);
  await current().network.tick();
  expect((await site.bucket.list({ prefix: prefixes.trash('rbd'), limit: 10 })).objects).toEqual([]);
  expect(await idleTick()).toBeLessThanOrEqual(2);
});

const purge = `${a} trash purge schedule`;
const refused = (verb: string, why: string): string =>
  `farside: rbd trash purge schedule ${verb} failed: (22) Invalid argument: ${why}\n`;

test('purge schedules: at three levels, in the tables of rbd, beside the schedules of mirror snapshots', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} namespace create rbd/ns1`],
    [`${purge} ls -R`, 'POOL  NAMESPACE  SCHEDULE\n'],
    [`${purge} ls -R --format json`, '[]\n'],
    [`${purge} status`, 'POOL  NAMESPACE  SCHEDULE TIME\n'],
    [`${purge} add 1d`],
    [`${purge} add -p rbd 6h 01:30`],
    [`${purge} add -p rbd --namespace ns1 90m`],
    [`${a} mirror snapshot schedule add 2h`],
    [`${purge} ls`, 'every 1d\n'],
    [`${a} mirror snapshot schedule ls`, 'every 2h\n'],
    [`${purge} list -p rbd --format json`, '[{"interval":"6h","start_time":"01:30:00"}]\n'],
    [
      `${purge} ls -R`,
      'POOL  NAMESPACE  SCHEDULE                     \n' +
        '-     -          every 1d                     \n' +
        'rbd   -          every 6h starting at 01:30:00\n' +
        'rbd   ns1        every 90m                    \n',
    ],
    [
      `${purge} ls -p rbd --namespace ns1 -R --format json`,
      '[{"pool":"rbd","namespace":"ns1","items":[{"interval":"90m","start_time":""}]}]\n',
    ],
    [
      `${purge} status`,
      'POOL  NAMESPACE  SCHEDULE TIME      \n' +
        'rbd              2026-11-23 07:30:00\n' +
        'rbd   ns1        2026-11-23 07:30:00\n',
    ],
    [
      `${purge} status -p rbd --namespace ns1 --format json`,
      '[{"pool":"rbd","namespce":"ns1","namespace":"ns1","schedule_time":"2026-11-23 07:30:00"}]\n',
    ],
    [`${purge} rm -p rbd --namespace ns1 90m`],
    [`${purge} remove -p rbd`],
    [`${purge} ls -p rbd`, '', 2],
    [`${purge} add`, "farside: missing 'interval' argument\n", 22],
    [`${purge} add -p none 1h`, refused('add', 'Invalid level spec none/: pool none does not exist'), 22],
    [`${purge} add 1w`, refused('add', 'Invalid interval (1w)'), 22],
    [
      `${purge} add --image rbd/vm 1h`,
      refused('add', 'Invalid level spec rbd/vm: the trash is of a pool or a namespace, not of an image'),
      22,
    ],
  ]);
});

test('purge schedules: a due slot removes what had expired by then, of each namespace by its own level', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} namespace create rbd/ns1`],
    [`${a} create now --size 1M`],
    [`${a} create later --size 1M`],
    [`${a} create rbd/ns1/other --size 1M`],
    [`${purge} add -p rbd 1h`],
    [`${purge} add -p rbd --namespace ns1 0d`],
    [`${a} trash mv now`],
    [`${a} trash mv later --expires-at 2199-01-01`],
    [`${a} trash mv rbd/ns1/other`],
  ]);
  const names = async (): Promise<string[]> => (await trashOf(a)).map(({ name }) => name!).toSorted();
  const { clock } = current().site('site-a');
  await current().network.tick();
  expect(await names()).toEqual(['later', 'now']);
  clock.setMs(Date.UTC(2026, 10, 23, 8, 0, 10));
  await current().network.tick();
  expect(await names()).toEqual(['later']);
  const left = JSON.parse((await farside(`${a} trash ls rbd/ns1 --format json`)).stdout);
  expect(left.map(({ name }: { name: string }) => name)).toEqual(['other']);
});

test('purge schedules: what one tick leaves of a full trash goes by messages', async () => {
  await session([[`${a} pool create rbd`], [`${purge} add 1h`]]);
  const site = current().site('site-a');
  for (let index = 0; index < 120; index++) {
    await site.ok('POST', '/v1/pools/rbd/images', { name: `vm-${index}`, sizeBytes: 1 });
    await site.ok('POST', '/v1/pools/rbd/trash', { image: `vm-${index}` });
  }
  site.clock.setMs(Date.UTC(2026, 10, 23, 8, 0, 10));
  await site.site.tick(site.clock.nowMs());
  expect(await trashOf(a)).toHaveLength(70);
  expect(site.queue.sent.filter(({ type }) => type === 'purge')).toHaveLength(1);
  await current().network.settle();
  expect(await trashOf(a)).toEqual([]);
});
