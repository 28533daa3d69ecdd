// Sessions of an operator who copies images, in rbd's words.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { content, eachWithSessions } from './sessions.ts';

const { current, farside, session } = eachWithSessions();

const a = '--cluster site-a';
const b = '--cluster site-b';
const disk = content('disk', 3_000_000);

test('cp and deep cp: content, snapshots, places, and what stands in their way', async () => {
  await writeFile(join(current().home, 'disk'), disk);
  await writeFile(join(current().home, 'disk-2'), Buffer.concat([disk, content('more', 1_000_000)]));
  await session([
    [`${a} pool create rbd`],
    [`${a} pool create backup`],
    [`${a} namespace create backup/ns`],
    [`${a} import $home/disk vm-1`],
    [`${a} snap create vm-1@monday`],
    [`${a} import --update $home/disk-2 vm-1`],
    [`${a} image-meta set vm-1 owner ops`],
    [`${a} cp vm-1 vm-2`],
    [`${a} copy vm-1@monday backup/monday --no-progress --sparse-size 4K`],
    [`${a} cp vm-1 --dest-pool backup --dest-namespace ns --dest vm --image-feature layering --data-pool rbd`],
    [`${a} deep cp vm-1 vm-deep --flatten`],
    [`${a} deep copy vm-1 backup/vm-deep --object-size 64K`],
    [`${a} cp vm-1 vm-768 --sparse-size 768K`],
    [`${a} cp vm-1@monday monday-64k --object-size 64K --image-feature layering`],
    [`${a} cp vm-1 vm-2`, 'farside: copy failed: (17) File exists\nimage rbd/vm-2 already exists\n', 17],
    [`${a} deep cp vm-1 vm-2`, 'farside: deep copy failed: (17) File exists\nimage rbd/vm-2 already exists\n', 17],
    [`${a} cp none vm-3`, 'farside: error opening image none: (2) No such file or directory\n', 2],
    [`${a} cp vm-1@none vm-3`, 'error setting snapshot context: (2) No such file or directory\n', 2],
    [`${a} cp vm-1`, 'farside: destination image name was not specified\n', 22],
    [`${a} cp vm-1 none/vm`, "farside: error opening pool 'none': (2) No such file or directory\n", 2],
    [`${a} cp vm-1 vm-3 --sparse-size 0`, "farside: the argument for option '--sparse-size' is invalid\n", 1],
    [`${a} snap purge vm-1`],
    [`${a} rm vm-1`],
    [`${a} image-meta get vm-2 owner`, 'ops\n'],
    [`${a} snap ls vm-2`],
  ]);
  const exported = async (spec: string): Promise<Buffer> => (await farside(`${a} export ${spec} -`)).bytes;
  const whole = Buffer.concat([disk, content('more', 1_000_000)]);
  for (const spec of ['vm-2', 'backup/ns/vm', 'vm-deep', 'backup/vm-deep'])
    expect({ spec, equal: (await exported(spec)).equals(whole) }).toEqual({ spec, equal: true });
  for (const spec of ['backup/monday', 'monday-64k', 'vm-deep@monday', 'backup/vm-deep@monday'])
    expect({ spec, equal: (await exported(spec)).equals(disk) }).toEqual({ spec, equal: true });
  const info = async (spec: string) => JSON.parse((await farside(`${a} info ${spec} --format json`)).stdout);
  expect(await info('backup/ns/vm')).toMatchObject({ features: ['layering', 'data-pool'], data_pool: 'rbd' });
  expect(await info('backup/vm-deep')).toMatchObject({ object_size: 65_536, snapshot_count: 1 });
  expect(await info('monday-64k')).toMatchObject({ object_size: 65_536, features: ['layering'], size: disk.length });
});

test('a replica is copied into an ordinary image', async () => {
  await writeFile(join(current().home, 'disk'), disk);
  await current().pairSites();
  await session([[`${a} import $home/disk vm-1`], [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n']]);
  await current().network.settle();
  await session([[`${b} cp vm-1 drill`], [`${b} snap create drill@mine`], [`${b} snap purge drill`]]);
  expect((await farside(`${b} export drill -`)).bytes.equals(disk)).toBe(true);
  await session([[`${b} rm drill`]]);
});
