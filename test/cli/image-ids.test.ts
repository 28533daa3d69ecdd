// Sessions in which images are named by their ids, snapshots by theirs, and in which pools are counted and maps checked.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { prefixes } from '../../lib/bucket/keys.ts';
import { content, eachWithSessions } from './sessions.ts';

const { current, farside, session } = eachWithSessions();

const a = '--cluster site-a';
const idOf = async (line: string): Promise<string> => JSON.parse((await farside(`${line} --format json`)).stdout).id;

test('snapshots of an image in the trash are listed, unprotected and purged by its id', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} pool create other`],
    [`${a} create vm-1 --size 8M`],
    [`${a} snap create vm-1@one`],
    [`${a} snap protect vm-1@one`],
    [`${a} snap create vm-1@two --skip-quiesce`],
    [`${a} snap create vm-1@three`],
  ]);
  const id = await idOf(`${a} info vm-1`);
  await session([
    [`${a} children --image-id ${id}`],
    [`${a} snap rm --image-id ${id} --snap three`],
    [`${a} trash mv vm-1`],
    [`${a} snap ls vm-1`, 'farside: error opening image vm-1: (2) No such file or directory\n', 2],
    [
      `${a} snap ls -p other --image-id ${id}`,
      `farside: error opening image ${id}: (2) No such file or directory\n`,
      2,
    ],
    [`${a} snap ls --image-id nonsense`, 'farside: error opening image nonsense: (2) No such file or directory\n', 2],
    [`${a} snap ls vm-1 --image-id ${id}`, 'farside: trying to access image using both name and id.\n', 22],
    [
      `${a} snap purge --image-id ${id}`,
      "farside: error removing snapshot(s) 'one', which is protected - these must be unprotected with 'farside snap unprotect'.\n",
    ],
    [`${a} snap unprotect -p rbd --image-id ${id} --snap one`],
    [`${a} snap purge --image-id ${id}`],
    [`${a} snap ls --image-id ${id}`],
    [`${a} trash rm ${id}`],
  ]);
});

test('info by id is that of the image, by whatever name', async () => {
  await session([[`${a} pool create rbd`], [`${a} create vm-1 --size 8M`], [`${a} rename vm-1 vm-2`]]);
  const id = await idOf(`${a} info vm-2`);
  expect((await farside(`${a} info --image-id ${id}`)).stdout).toContain("rbd image 'vm-2':");
});

test('a diff may start at a snapshot by its id', async () => {
  await writeFile(join(current().home, 'disk'), content('disk', 1_000_000));
  await session([
    [`${a} pool create rbd`],
    [`${a} import $home/disk vm-1`],
    [`${a} snap create vm-1@one`],
    [`${a} diff vm-1 --from-snap-id 1`],
    [
      `${a} diff vm-1 --from-snap-id 9`,
      'farside: diff error: (2) No such file or directory\nsnapshot id 9 of image vm-1 does not exist\n',
      2,
    ],
    [
      `${a} diff vm-1 --from-snap one --from-snap-id 1`,
      'farside: diff error: (22) Invalid argument\ntrying to access snapshot using both name and id.\n',
      22,
    ],
  ]);
  const byName = (await farside(`${a} export-diff vm-1 --from-snap one -`)).bytes;
  expect((await farside(`${a} export-diff vm-1 --from-snap-id 1 -`)).bytes.equals(byName)).toBe(true);
});

test('pool stats count images, snapshots and the trash', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} pool stats rbd`, 'Total Images: 0\nTotal Snapshots: 0\nProvisioned Size: 0 B\n'],
    [`${a} create vm-1 --size 8M`],
    [`${a} snap create vm-1@one`],
    [`${a} resize vm-1 --size 4M --allow-shrink`],
    [`${a} create vm-2 --size 1M`],
    [`${a} pool stats rbd`, 'Total Images: 2\nTotal Snapshots: 1\nProvisioned Size: 9 MiB\n'],
    [`${a} trash mv vm-1`],
    [
      `${a} pool stats rbd`,
      'Total Images: 2 (1 in trash)\nTotal Snapshots: 1 (1 in trash)\nProvisioned Size: 9 MiB (8 MiB in trash)\n',
    ],
  ]);
  expect(JSON.parse((await farside(`${a} pool stats rbd --format json`)).stdout)).toEqual({
    images: { count: 1, provisioned_bytes: 1_048_576, snap_count: 0 },
    trash: { count: 1, provisioned_bytes: 8_388_608, snap_count: 1 },
  });
});

test('a map is checked: damage is found, and sparsify has nothing to do', async () => {
  await writeFile(join(current().home, 'disk'), content('disk', 1_000_000));
  await session([
    [`${a} pool create rbd`],
    [`${a} import $home/disk vm-1`],
    [`${a} snap create vm-1@one`],
    [`${a} object-map check vm-1`],
    [`${a} object-map rebuild vm-1@one`],
    [`${a} object-map check none`, 'farside: error opening image none: (2) No such file or directory\n', 2],
    [`${a} sparsify vm-1 --sparse-size 64K`],
  ]);
  const { bucket } = current().site('site-a');
  const packs = await bucket.list({ prefix: prefixes.packs(await idOf(`${a} info vm-1`)), limit: 1000 });
  await bucket.delete(packs.objects.map(({ key }) => key));
  const checked = await farside(`${a} object-map check vm-1`);
  expect(checked.exitCode).toBe(74);
  expect(checked.stderr).toMatch(/^farside: checking object map failed: \(74\) Bad message\n.*pack [0-9a-f]{32}/);
});
