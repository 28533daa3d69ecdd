// Sessions about what an image is made with: features and data pools, and how they reach a replica.

import { expect, test } from 'vitest';
import { content, eachWithSessions } from './sessions.ts';

const { current, farside, session } = eachWithSessions();

const a = '--cluster site-a';
const b = '--cluster site-b';
const infoOf = async (line: string): Promise<{ features: string[]; data_pool?: string }> =>
  JSON.parse((await farside(`${line} --format json`)).stdout);
const featuresOf = async (line: string): Promise<string> => (await infoOf(line)).features.join(',');
const failed = (errno: string, why: string): string => `farside: failed to update image features: ${errno}\n${why}\n`;

test('features at creation: asked for, by option, shared, by default', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create one --size 8M --image-feature layering --image-feature exclusive-lock`],
    [`${a} create shared --size 8M --image-shared`],
    [`${a} config pool set rbd rbd_default_features layering`],
    [`${a} create plain --size 8M --order 20`],
    [
      `${a} create no --size 8M --image-feature teleport`,
      "farside: the argument for option '--image-feature' is invalid\n",
      1,
    ],
    [
      `${a} create no --size 8M --image-feature object-map`,
      'farside: create error: (22) Invalid argument\ncannot use object map without exclusive lock\n',
      22,
    ],
    [
      `${a} create no --size 8M --image-feature journaling`,
      'farside: create error: (22) Invalid argument\ncannot use journaling without exclusive lock\n',
      22,
    ],
    [`${a} create journaled --size 8M --image-feature exclusive-lock,journaling`],
  ]);
  await farside(`${a} import - imported --image-feature layering,exclusive-lock`, content('x', 4096));
  await session([[`${a} snap create one@s`], [`${a} clone one@s cloned --image-shared`]]);
  const names = ['one', 'shared', 'plain', 'imported', 'cloned'];
  expect(await Promise.all(names.map((name) => featuresOf(`${a} info ${name}`)))).toEqual([
    'layering,exclusive-lock,operations',
    'layering,deep-flatten',
    'layering',
    'layering,exclusive-lock',
    'layering,operations',
  ]);
});

test("feature enable and disable in rbd's words", async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} feature disable vm-1 fast-diff`],
    [`${a} feature enable vm-1`, 'farside: at least one feature name must be specified\n', 22],
    [`${a} feature enable vm-1 teleport`, 'farside: the argument for option is invalid\n', 1],
    [
      `${a} feature enable vm-1 exclusive-lock`,
      failed('(22) Invalid argument', 'one or more requested features are already enabled'),
      22,
    ],
    [`${a} feature enable vm-1 layering`, failed('(22) Invalid argument', 'cannot update immutable features'), 22],
    [`${a} feature disable vm-2 fast-diff`, 'farside: error opening image vm-2: (2) No such file or directory\n', 2],
  ]);
  expect(await featuresOf(`${a} info vm-1`)).toBe('layering,exclusive-lock,deep-flatten');
  await session([[`${a} feature enable vm-1 object-map,fast-diff`]]);
  expect(await featuresOf(`${a} info vm-1`)).toBe('layering,exclusive-lock,object-map,fast-diff,deep-flatten');
  await session([[`${a} feature enable vm-1 journaling`]]);
  expect(await featuresOf(`${a} info vm-1`)).toContain('journaling');
  expect((await farside(`${a} info vm-1`)).stdout).toContain('\n\top_features: \n\tflags: \n');
});

test('features and data pools follow to the replica, each site with a data pool of its own', async () => {
  await current().pairSites();
  await session([
    [`${a} pool create data`],
    [`${a} pool create fast`],
    [`${b} pool create data`],
    [
      `${a} create no --size 8M --data-pool nowhere`,
      "farside: create error: (2) No such file or directory\ndata pool 'nowhere' does not exist\n",
      2,
    ],
    [`${a} create own --size 8M --data-pool rbd`],
    [`${a} create known --size 8M --data-pool data`],
    [`${a} config pool set rbd rbd_default_data_pool fast`],
  ]);
  await farside(`${a} import - unknown`, content('x', 4096));
  for (const name of ['own', 'known', 'unknown']) await farside(`${a} mirror image enable ${name} snapshot`);
  await current().network.settle();
  const pools = async (cluster: string): Promise<(string | undefined)[]> =>
    (await Promise.all(['own', 'known', 'unknown'].map((name) => infoOf(`${cluster} info ${name}`)))).map(
      (info) => info.data_pool,
    );
  expect(await pools(a)).toEqual([undefined, 'data', 'fast']);
  expect(await pools(b)).toEqual([undefined, 'data', undefined]);
  expect(await featuresOf(`${b} info known`)).toContain('data-pool,non-primary');
  expect(await featuresOf(`${b} info unknown`)).not.toContain('data-pool');
  expect((await farside(`${a} info known`)).stdout).toMatch(/\tid: \w+\n\tdata_pool: data\n\tblock_name_prefix: /);
  await session([
    [
      `${b} feature disable known fast-diff`,
      failed('(30) Read-only file system', 'image known is non-primary: it is read-only until it is promoted'),
      30,
    ],
    [`${a} feature disable known object-map`],
    [`${a} mirror image snapshot known`, expect.stringContaining('Snapshot ID') as string],
  ]);
  await current().network.settle();
  expect(await featuresOf(`${b} info known`)).toBe('layering,exclusive-lock,deep-flatten,data-pool,non-primary');
});

test('a replica is put into the default data pool of its own site', async () => {
  await current().pairSites();
  await session([
    [`${b} pool create fast`],
    [`${b} config pool set rbd rbd_default_data_pool fast`],
    [`${a} create vm-1 --size 8M`],
    [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n'],
  ]);
  await current().network.settle();
  expect((await infoOf(`${b} info vm-1`)).data_pool).toBe('fast');
});

test('in mode pool an image is mirrored whatever way it comes to have journaling', async () => {
  const journaling = '--image-feature layering,exclusive-lock,journaling';
  await session([
    [`${a} pool create rbd`],
    [`${a} mirror pool enable rbd pool`, expect.anything() as string],
    [`${a} create plain --size 1M --image-feature layering`],
    [`${a} snap create plain@s`],
    [`${a} cp plain copied ${journaling}`, expect.anything() as string],
    [`${a} deep cp plain deep ${journaling}`, expect.anything() as string],
  ]);
  expect((await farside(`${a} import - imported ${journaling}`, content('one', 100_000))).exitCode).toBe(0);
  await session([
    [`${a} snap create imported@s`],
    [`${a} clone imported@s cloned ${journaling} --rbd-default-clone-format 2`],
  ]);
  for (const image of ['copied', 'deep', 'imported', 'cloned'])
    expect((await farside(`${a} info ${image}`)).stdout).toContain('\tmirroring mode: journal\n');
  expect((await farside(`${a} info plain`)).stdout).not.toContain('mirroring');
});
