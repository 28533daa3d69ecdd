// Sessions about locks, watchers and the limit of snapshots, in rbd's words.

import { expect, test } from 'vitest';
import { eachWithSessions } from './sessions.ts';

const { current, farside, session } = eachWithSessions();

const a = '--cluster site-a';
const b = '--cluster site-b';

test('locks: taken, listed, shared and released', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} status vm-1`, 'Watchers: none\n'],
    [`${a} status vm-1 --format json`, '{"watchers":[]}\n'],
    [`${a} status vm-1 --format xml`, '<status><watchers></watchers></status>\n'],
    [`${a} lock ls vm-1`],
    [`${a} lock ls vm-1 --format json`, '[]\n'],
    [`${a} lock add vm-1`, 'farside: lock id was not specified\n', 22],
    [`${a} lock add vm-1 backup`],
    [`${a} lock add vm-1 backup`, 'farside: lock is already held by someone else\n', 16],
    [`${a} lock add vm-1 x --shared t`, 'farside: lock is already held by someone else with a different tag\n', 16],
    [`${a} lock rm vm-1 backup`, 'farside: locker was not specified\n', 22],
    [
      `${a} lock rm vm-1 backup client.0`,
      "farside: releasing lock failed: (2) No such file or directory\nnobody called client.0 holds lock 'backup'\n",
      2,
    ],
    [`${a} snap create vm-1@s`],
  ]);
  const listed = (await farside(`${a} lock ls vm-1`)).stdout;
  expect(listed).toMatch(
    /^There is 1 exclusive lock on this image\.\nLocker +ID +Address *\nclient\.\d+ +backup +\S+:0\/\d+ *\n$/,
  );
  const locks = JSON.parse((await farside(`${a} lock ls vm-1 --format json`)).stdout);
  expect(locks).toEqual([
    { id: 'backup', locker: expect.stringMatching(/^client\.\d+$/), address: expect.any(String) },
  ]);
  expect((await farside(`${a} lock ls vm-1 --format xml`)).stdout).toMatch(
    /^<locks><lock><id>backup<\/id><locker>client\.\d+<\/locker><address>\S+<\/address><\/lock><\/locks>\n$/,
  );
  expect((await farside(`${a} ls -l`)).stdout).toMatch(/vm-1 .*excl/);
  await session([
    [`${a} lock rm vm-1 backup ${locks[0].locker}`],
    [`${a} lock add vm-1 one --shared readers`],
    [`${a} lock add vm-1 two --shared readers`],
  ]);
  expect((await farside(`${a} lock ls vm-1`)).stdout).toMatch(
    /^There are 2 shared locks on this image\.\nLock tag: readers\nLocker/,
  );
  expect((await farside(`${a} ls -l`)).stdout).toMatch(/vm-1 .*shr/);
});

test('a replica is held by mirroring; locks stay at their site, limits of snapshots go along', async () => {
  await current().pairSites();
  await session([
    [`${a} create vm-1 --size 8M`],
    [`${a} lock add vm-1 backup`],
    [`${a} snap limit set vm-1`, 'farside: must specify --limit <num>\n', 34],
    [`${a} snap limit set vm-1 --limit 1`],
    [`${a} snap create vm-1@s`],
    [
      `${a} snap create vm-1@t`,
      "farside: failed to create snapshot: (122) Disk quota exceeded\nimage vm-1 may have 1 snapshots: remove some, or raise it with 'farside snap limit set'\n",
      122,
    ],
    [
      `${a} snap limit set vm-1 --limit 0`,
      'farside: setting snapshot limit failed: (34) Numerical result out of range\nimage vm-1 has 1 snapshots: remove some first\n',
      34,
    ],
    [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n'],
  ]);
  await current().network.settle();
  expect((await farside(`${b} info vm-1`)).stdout).toContain('\tsnapshot_limit: 1\n');
  expect((await farside(`${b} lock ls vm-1`)).stdout).toMatch(
    /^There is 1 exclusive lock on this image\.\nLocker +ID +Address *\nclient\.\d+ +auto \d+ +\S+:0\/\d+ *\n$/,
  );
  expect((await farside(`${b} status vm-1`)).stdout).toMatch(
    /^Watchers:\n\twatcher=\S+:0\/\d+ client\.\d+ cookie=\d+\n$/,
  );
  await session([
    [`${b} lock add vm-1 mine`, 'farside: lock is already held by someone else\n', 16],
    [
      `${b} snap limit clear vm-1`,
      'farside: removing snapshot limit failed: (30) Read-only file system\nimage vm-1 is non-primary: it is read-only until it is promoted\n',
      30,
    ],
    [`${a} snap limit clear vm-1`],
  ]);
  const before = (await farside(`${a} mirror image snapshot vm-1`)).exitCode;
  await current().network.settle();
  expect(before).toBe(0);
  expect((await farside(`${b} info vm-1 --format json`)).stdout).not.toContain('snapshot_limit');
});
