// Sessions with options of rbd that scripts give: what they do, and what those say that mean nothing to a site.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { content, Sessions } from './sessions.ts';

async function withSessions(work: (sessions: Sessions) => Promise<void>): Promise<void> {
  const sessions = await Sessions.start();
  try {
    await work(sessions);
  } finally {
    await sessions.end();
  }
}

const a = '--cluster site-a';

test('snap rm --force makes clones independent, also those in the trash, and removes a protected snapshot', async () => {
  await withSessions(async ({ session, farside, home }) => {
    const disk = content('disk', 300_000);
    await writeFile(join(home, 'disk'), disk);
    await session([
      [`${a} pool create rbd`],
      [`${a} pool create other`],
      [`${a} import $home/disk vm-1`],
      [`${a} snap create vm-1@golden`],
      [`${a} snap protect vm-1@golden`],
      [`${a} clone vm-1@golden vm-2`],
      [`${a} clone vm-1@golden other/vm-3`],
      [`${a} trash mv other/vm-3`],
    ]);
    expect((await farside(`${a} snap rm vm-1@golden`)).exitCode).toBe(16);
    await session([
      [
        `${a} snap rm --force --snap-id 1 vm-1`,
        'farside: force and no-progress options not permitted when removing by id.\n',
        22,
      ],
      [`${a} snap rm --force vm-1@golden`],
      [`${a} snap ls vm-1`],
      [`${a} snap create vm-1@plain`],
      [`${a} snap rm vm-1@plain --force --no-progress`],
      [
        `${a} snap rm --force vm-1@none`,
        'farside: failed to remove snapshot: (2) No such file or directory\nsnapshot none of image vm-1 does not exist\n',
        2,
      ],
    ]);
    const listed = JSON.parse((await farside(`${a} trash ls other --format json`)).stdout);
    await session([[`${a} trash restore -p other ${listed[0].id}`], [`${a} rm vm-1`]]);
    for (const spec of ['vm-2', 'other/vm-3'])
      expect({ spec, equal: (await farside(`${a} export ${spec} -`)).bytes.equals(disk) }).toEqual({
        spec,
        equal: true,
      });
  });
});

test('du counts from a snapshot on, and merges snapshots with their image', async () => {
  await withSessions(async ({ session, farside, home }) => {
    await writeFile(join(home, 'one'), content('one', 64 * 1024));
    await writeFile(join(home, 'two'), content('two', 128 * 1024));
    await session([
      [`${a} pool create rbd`],
      [`${a} import $home/one vm`],
      [`${a} snap create vm@s1`],
      [`${a} import --update $home/two vm`],
      [`${a} snap create vm@s2`],
    ]);
    const used = async (options: string): Promise<[string | undefined, number][]> => {
      const { images } = JSON.parse((await farside(`${a} du ${options} --format json`)).stdout);
      return images.map((row: { snapshot?: string; used_size: number }) => [row.snapshot, row.used_size / 1024]);
    };
    expect(await used('vm --exact')).toEqual([
      ['s1', 64],
      ['s2', 128],
      [undefined, 0],
    ]);
    expect(await used('vm --from-snap s1')).toEqual([
      ['s2', 128],
      [undefined, 0],
    ]);
    expect(await used('vm --merge-snapshots')).toEqual([[undefined, 192]]);
    expect(await used('--merge-snapshots')).toEqual([[undefined, 192]]);
    await session([
      [`${a} du --from-snap s1`, 'farside: --from-snap is of one image: image name was not specified\n', 22],
      [
        `${a} du vm --from-snap none`,
        'specified snapshot is not found.\nfarside: du failed: (2) No such file or directory\n',
        2,
      ],
      [`${a} du none`, 'specified image none is not found.\nfarside: du failed: (2) No such file or directory\n', 2],
    ]);
  });
});

test('new images are mirrored at once where --mirror-image-mode says so; layouts of objects are taken or refused', async () => {
  await withSessions(async (sessions) => {
    const { session, farside, home } = sessions;
    await sessions.pairSites();
    await writeFile(join(home, 'disk'), content('disk', 5000));
    const modeOf = async (spec: string): Promise<unknown> =>
      JSON.parse((await farside(`${a} info ${spec} --format json`)).stdout).mirroring?.mode;
    await session([
      [`${a} create made --size 1M --mirror-image-mode snapshot --new-format --image-format 2`],
      [`${a} import $home/disk brought --mirror-image-mode journal --journal-object-size 16M --journal-splay-width 4`],
      [`${a} cp made copied --mirror-image-mode snapshot --stripe-unit 4M --stripe-count 1`],
      [`${a} snap create made@s`],
      [`${a} snap protect made@s`],
      [`${a} clone made@s cloned --mirror-image-mode snapshot --journal-pool other`],
      [`${a} feature enable copied journaling --journal-splay-width 2`],
      [`${a} pool init rbd --force`],
      [
        `${a} create no --size 1M --stripe-count 2`,
        'farside: must specify both (or neither) of stripe-unit and stripe-count\n',
        22,
      ],
      [
        `${a} create no --size 1M --image-format 1`,
        'farside: create error: format 1 is unsupported, as in rbd itself by now\n',
        22,
      ],
      [
        `${a} create no --size 1M --thick-provision`,
        'farside: --thick-provision is not in farside: a bucket has no space to reserve, and zeros are not stored\n',
        95,
      ],
    ]);
    for (const [spec, mode] of [
      ['made', 'snapshot'],
      ['brought', 'journal'],
      ['copied', 'snapshot'],
      ['cloned', 'snapshot'],
    ] as const)
      expect({ spec, mode: await modeOf(spec) }).toEqual({ spec, mode });
    const striped = await farside(`${a} create no --size 1M --stripe-unit 64K --stripe-count 4`);
    expect([striped.exitCode, striped.stderr]).toEqual([95, expect.stringMatching(/striping is not in farside/)]);
    await session([
      [`${a} pool create plain`],
      [
        `${a} create plain/alone --size 1M --mirror-image-mode snapshot`,
        'farside: image alone is made, but mirroring of it could not be enabled: cannot enable mirroring: mirroring is not enabled on a pool\n',
        22,
      ],
    ]);
  });
});

test('diffs are named by --path as well', async () => {
  await withSessions(async ({ session, home }) => {
    await writeFile(join(home, 'disk'), content('disk', 5000));
    await session([
      [`${a} pool create rbd`],
      [`${a} import $home/disk vm`],
      [`${a} snap create vm@s1`],
      [`${a} snap create vm@s2`],
      [`${a} export-diff vm@s1 --path $home/first`],
      [`${a} export-diff --from-snap s1 vm@s2 --path $home/second`],
      [`${a} merge-diff --path $home/both $home/first $home/second`],
      [`${a} create copy --size 1M`],
      [`${a} import-diff --path $home/both --sparse-size 4K copy`],
      [`${a} snap ls copy --format json --no-progress`, expect.stringContaining('"name":"s2"')],
    ]);
  });
});
