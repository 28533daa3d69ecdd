// A session of an operator with clones: messages and exit codes are rbd's.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { registerSite } from '../../lib/cli/sites/registry.ts';
import { content, Sessions } from './sessions.ts';

let sessions: Sessions;
beforeEach(async () => {
  sessions = await Sessions.start();
});
afterEach(() => sessions.end());

const a = '--cluster site-a';

test('clone, children, flatten and what stands in the way of removing', async () => {
  const { farside, session, home } = sessions;
  await writeFile(join(home, 'disk'), content('golden', 3_000_000));
  await session([
    [`${a} pool create rbd`],
    [`${a} pool create backup`],
    [`${a} import $home/disk golden`],
    [`${a} snap create golden@s`],
    [`${a} clone golden child`, 'farside: snapshot name was not specified\n', 22],
    [
      `${a} clone golden@s child --rbd-default-clone-format 1`,
      'farside: clone error: (22) Invalid argument\nparent snapshot must be protected\n',
      22,
    ],
    [
      `${a} clone golden@none child`,
      'farside: clone error: (2) No such file or directory\nfailed to open parent image: snapshot none of image golden does not exist\n',
      2,
    ],
    [
      `${a} clone golden --snap-id 99 copy`,
      'farside: clone error: (2) No such file or directory\nfailed to open parent image: snapshot id 99 of image golden does not exist\n',
      2,
    ],
    [`${a} clone golden@s --snap-id 1 copy`, 'farside: trying to access snapshot using both name and id.\n', 22],
    [`${a} clone golden@s golden`, 'farside: clone error: (17) File exists\nimage rbd/golden already exists\n', 17],
    [`${a} snap protect golden@s`],
    [`${a} clone golden@s child`],
    [`${a} clone golden@s backup/child-2 --rbd-default-clone-format 2 --image-feature layering`],
    [`${a} children golden@s`, 'backup/child-2\nrbd/child\n'],
    [
      `${a} children golden --format json`,
      '[{"pool":"backup","pool_namespace":"","image":"child-2"},{"pool":"rbd","pool_namespace":"","image":"child"}]\n',
    ],
  ]);
  const info = (await farside(`${a} info backup/child-2`)).stdout;
  expect(info).toContain('\tfeatures: layering, operations\n\top_features: clone-child\n');
  expect(info).toContain('\tparent: rbd/golden@s\n\toverlap: 2.9 MiB\n');
  expect((await farside(`${a} ls -l`)).stdout).toMatch(/child +2.9 MiB +rbd\/golden@s +2/);
  expect((await farside(`${a} du child --format json`)).stdout).toContain('"used_size":0');
  const unprotect = await farside(`${a} snap unprotect golden@s`);
  expect(unprotect).toMatchObject({ exitCode: 16 });
  expect(unprotect.stderr).toMatch(
    /^farside: unprotecting snap failed: \(16\) Device or resource busy\ncannot unprotect: at least 1 child\(ren\) \[[0-9a-f]+\] in pool 'rbd'\n$/,
  );
  await session([
    [`${a} rm child`],
    [`${a} snap unprotect golden@s`],
    [`${a} snap rm golden@s`],
    [`${a} snap ls golden`, ''],
    [
      `${a} rm golden`,
      'farside: image has snapshots with linked clones - these must be deleted or flattened before the image can be removed.\n',
      39,
    ],
  ]);
  expect((await farside(`${a} snap ls --all golden`)).stdout).toMatch(/ trash \(user s\) *\n$/);
  await session([
    [`${a} flatten backup/child-2`],
    [`${a} flatten backup/child-2`, 'farside: flatten error: (22) Invalid argument\nimage has no parent\n', 22],
    [`${a} rm golden`],
    [`${a} export backup/child-2 $home/back`],
  ]);
  expect((await readFile(join(home, 'back'))).equals(content('golden', 3_000_000))).toBe(true);
});

test('a pool’s client reads its clones of another pool’s image, and nothing else of that pool', async () => {
  const { farside, session, home } = sessions;
  await writeFile(join(home, 'disk'), content('golden', 1_000_000));
  await session([
    [`${a} pool create rbd`],
    [`${a} pool create tenant`],
    [`${a} import $home/disk golden`],
    [`${a} import $home/disk secret`],
    [`${a} snap create golden@s`],
    [`${a} clone golden@s tenant/vm`],
    [`${a} snap create tenant/vm@s`],
    [`${a} clone tenant/vm@s tenant/vm-2`],
  ]);
  const token = JSON.parse((await farside(`${a} token create --scope pool:tenant --format json`)).stdout)
    .token as string;
  await registerSite(home, { name: 'client', url: 'http://site-a.test', token, platform: 'test' });
  const c = '--cluster client';
  await session([[`${c} export tenant/vm-2 $home/back`], [`${c} import --update $home/disk tenant/vm-2`]]);
  expect((await readFile(join(home, 'back'))).equals(content('golden', 1_000_000))).toBe(true);
  expect((await farside(`${c} export rbd/secret $home/stolen`)).exitCode).not.toBe(0);
  expect((await farside(`${c} clone tenant/vm@s rbd/intruder`)).exitCode).not.toBe(0);
});

test('points in time at the replica: kept, exported, tried out, rolled back to', async () => {
  const { farside, session, home, site, network } = sessions;
  const b = '--cluster site-b';
  await sessions.pairSites();
  const contents = [content('first', 300_000), content('second', 300_000)];
  await writeFile(join(home, 'first'), contents[0]!);
  await writeFile(join(home, 'second'), contents[1]!);
  await session([
    [`${b} mirror pool retention get rbd`, 'keep: nothing besides the newest\n'],
    [`${b} mirror pool retention set rbd`, 'farside: must specify --keep <policy>, as in --keep 24h,7d,4w,12m\n', 22],
    [
      `${b} mirror pool retention set rbd --keep 24x`,
      "farside: invalid retention '24x': use counts of hours, days, weeks, months and years, as in 24h,7d,4w,12m, or none\n",
      22,
    ],
    [`${b} mirror pool retention set rbd --keep 7d,24h`],
    [`${b} mirror pool retention get rbd --format json`, '{"keep":"24h,7d","from":"pool"}\n'],
    [`${a} import $home/first disk`],
    [`${a} mirror image enable disk snapshot`, 'Mirroring enabled\n'],
  ]);
  await network.settle();
  site('site-a').clock.setMs(site('site-a').clock.nowMs() + 3_600_000);
  await session([[`${a} import --update $home/second disk`]]);
  expect((await farside(`${a} mirror image snapshot disk`)).exitCode).toBe(0);
  await network.settle();
  const retention = JSON.parse((await farside(`${b} mirror image retention get disk --format json`)).stdout);
  expect(retention).toMatchObject({ keep: '24h,7d', from: 'pool' });
  expect(retention.points).toHaveLength(2);
  const id = retention.points[0].id as number;
  expect((await farside(`${b} mirror image retention get disk`)).stdout).toMatch(
    /^keep: 24h,7d \(the pool's\)\nSNAPID {2}TAKEN +SIZE *\n/,
  );
  await session([
    [`${b} export disk --snap-id ${id} $home/then`],
    [`${b} mirror image test-failover disk`, 'farside: destination image name was not specified\n', 22],
    [`${b} mirror image test-failover disk drill --snap-id ${id}`],
    [`${b} import --update $home/second drill`],
    [`${b} mirror image test-failover disk rbd/drill-2`],
    [`${b} mirror image test-failover disk --cleanup drill-2`],
    [`${b} children disk`, 'rbd/drill\n'],
    [
      `${a} mirror image test-failover disk drill`,
      'farside: test failover error: (22) Invalid argument\nimage is primary: a failover is tried out where its replica is; here, clone a snapshot\n',
      22,
    ],
    [`${b} mirror image retention set disk --keep none`],
    [`${b} export drill $home/drilled`],
  ]);
  expect((await farside(`${b} snap ls --all disk`)).stdout).toContain('trash (');
  expect((await farside(`${b} mirror image test-failover disk --list`)).stdout).toMatch(/rbd\/drill +\d+/);
  await session([
    [`${b} mirror image test-failover disk --cleanup`],
    [`${b} mirror image test-failover disk --list --format json`, '[]\n'],
    [`${b} mirror image retention rm disk`],
    [`${b} mirror pool retention rm rbd`],
  ]);
  expect((await farside(`${b} snap ls --all disk`)).stdout).not.toContain('trash (');
  expect((await readFile(join(home, 'then'))).equals(contents[0]!)).toBe(true);
  expect((await readFile(join(home, 'drilled'))).equals(contents[1]!)).toBe(true);
  const newest = JSON.parse((await farside(`${b} snap ls --all disk --format json`)).stdout).at(-1).id as number;
  await session([
    [`${b} mirror image promote --force disk`, 'Image promoted to primary\n'],
    [`${b} snap rollback disk --snap-id ${newest}`],
  ]);
});
