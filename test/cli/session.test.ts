// Sessions of an operator with two real sites in this process: the exit codes and messages are those of a real rbd where it
// has the command (see reference/rbd-measured.md). The data path goes through the sites' store endpoint.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { registerSite } from '../../lib/cli/sites/registry.ts';
import { content, Sessions } from './sessions.ts';

let home: string;
let network: Sessions['network'];
let sessions: Sessions;
let farside: Sessions['farside'];
let session: Sessions['session'];
let pairSites: Sessions['pairSites'];
beforeEach(async () => {
  sessions = await Sessions.start();
  ({ home, network, farside, session, pairSites } = sessions);
});
afterEach(() => sessions.end());

test('pools: every answer of a real rbd', async () => {
  const a = '--cluster site-a';
  await session([
    [`${a} mirror pool info rbd`, "farside: error opening pool 'rbd': (2) No such file or directory\n", 2],
    [`${a} pool create rbd`],
    [`${a} pool create rbd`, 'farside: pool rbd already exists\n', 17],
    [`${a} pool init rbd`],
    [`${a} pool ls`, 'rbd\n'],
    [`${a} mirror pool info rbd`, 'Mode: disabled\n'],
    [`${a} mirror pool info rbd --format json --pretty-format`, '{\n    "mode": "disabled"\n}\n'],
    [`${a} mirror pool status rbd`, 'farside: mirroring not enabled on the pool\n', 22],
    [`${a} mirror pool peer bootstrap create rbd`, 'farside: mirroring not enabled on the pool\n', 22],
    [
      `${a} mirror pool enable nosuchpool image`,
      "farside: error opening pool 'nosuchpool': (2) No such file or directory\n",
      2,
    ],
    [`${a} mirror pool disable rbd`, 'farside: mirroring is already disabled\n'],
    [`${a} mirror pool enable rbd image`],
    [`${a} mirror pool enable rbd image`, 'farside: mirroring is already configured for image mode\n'],
    [`${a} mirror pool enable rbd pool`, 'note: changing mirroring mode from image to pool\n'],
    [`${a} mirror pool enable rbd image`, 'note: changing mirroring mode from pool to image\n'],
    [`${a} mirror pool enable --site-name site-a rbd image`],
    [`${a} mirror pool info rbd`, 'Mode: image\nSite Name: site-a\nMirror UUID: <uuid>\n\nPeer Sites: none\n'],
    [`${a} mirror pool peer remove rbd 00000000-0000-0000-0000-000000000000`],
    [`${a} mirror pool disable rbd`],
    [`${a} pool rm rbd`],
    [`${a} pool rm rbd`, "farside: error opening pool 'rbd': (2) No such file or directory\n", 2],
  ]);
});

test('peers: tokens are checked, and both sides know each other', async () => {
  await pairSites();
  await writeFile(join(home, 'bad'), 'hello world!!');
  const failed = 'farside: failed to import peer bootstrap token\n';
  const importing = '--cluster site-b mirror pool peer bootstrap import';
  const refusals = [
    `${importing} rbd $home/bad`,
    `${importing} rbd $home/token`,
    '--cluster site-a mirror pool peer bootstrap import rbd $home/token',
  ];
  for (const line of refusals) {
    const { exitCode, stderr } = await farside(line);
    expect([17, 22]).toContain(exitCode);
    expect(stderr).toMatch(new RegExp(`^${failed}[^\\n]+\\n$`));
  }
  const peers =
    '\nPeer Sites: \n\nUUID: <uuid>\nName: site-b\nMirror UUID: <uuid>\nDirection: rx-tx\nClient: client.rbd-mirror-peer\n';
  await session([
    ['--cluster site-a mirror pool info rbd', `Mode: image\nSite Name: site-a\nMirror UUID: <uuid>\n${peers}`],
    ['--cluster site-a mirror pool disable rbd', 'farside: mirror peers still registered\n', 16],
  ]);
});

test('images and snapshots: life and errors', async () => {
  await session([
    ['--cluster site-a pool create rbd'],
    ['--cluster site-b pool create rbd'],
    ['--cluster site-a ls'],
    ['--cluster site-a create vm-1 --size 8M'],
    [
      '--cluster site-a create vm-1 --size 8M',
      'farside: create error: (17) File exists\nimage rbd/vm-1 already exists\n',
      17,
    ],
    ['--cluster site-a resize vm-1 --size 16M'],
    [
      '--cluster site-a resize vm-1 --size 4M',
      'farside: shrinking an image is only allowed with the --allow-shrink flag\n',
      22,
    ],
    ['--cluster site-a resize vm-1 --size 8M --allow-shrink'],
    ['--cluster site-a rename vm-1 vm-2'],
    ['--cluster site-a ls -l', 'NAME  SIZE   PARENT  FMT  PROT  LOCK\nvm-2  8 MiB            2            \n'],
    ['--cluster site-a snap ls vm-2'],
    ['--cluster site-a snap create vm-2@s'],
    [
      '--cluster site-a snap create vm-2@s',
      'farside: failed to create snapshot: (17) File exists\nsnapshot s already exists\n',
      17,
    ],
    [
      '--cluster site-a snap ls vm-2',
      'SNAPID  NAME  SIZE   PROTECTED  TIMESTAMP               \n     1  s     8 MiB             Mon Nov 23 07:06:09 2026\n',
    ],
    ['--cluster site-a snap protect vm-2@s'],
    ['--cluster site-a snap protect vm-2@s', 'farside: snap is already protected\n', 16],
    [
      '--cluster site-a snap rm vm-2@s',
      "farside: snapshot 's' is protected from removal.\nunprotect it with 'farside snap unprotect' first\n",
      16,
    ],
    ['--cluster site-a snap unprotect vm-2@s'],
    ['--cluster site-a snap unprotect vm-2@s', 'farside: snap is already unprotected\n', 22],
    ['--cluster site-a snap rename vm-2@s vm-2@t'],
    ['--cluster site-a snap rollback vm-2@t'],
    [
      '--cluster site-a rm vm-2',
      "farside: image has snapshots - these must be deleted with 'farside snap purge' before the image can be removed.\n",
      39,
    ],
    ['--cluster site-a snap purge vm-2'],
    ['--cluster site-a image-meta list vm-2', 'There are 0 metadata on this image.\n'],
    ['--cluster site-a image-meta set vm-2 k v'],
    ['--cluster site-a image-meta get vm-2 k', 'v\n'],
    ['--cluster site-a image-meta rm vm-2 k'],
    ['--cluster site-a image-meta list vm-2 --format json', '{}\n'],
    ['--cluster site-a collect vm-2', 'Collection started: run <uuid>\n'],
    ['--cluster site-a rm vm-2'],
    ['--cluster site-a rm vm-2', 'farside: delete error: (2) No such file or directory\nerror opening image vm-2\n', 2],
  ]);
});

test('the main job: import, mirror, switch over, export', async () => {
  await pairSites();
  const bytes = content('disk', 5 * 2 ** 20 + 100);
  expect(await farside('--cluster site-a import - vm-1', bytes)).toMatchObject({ exitCode: 0, stderr: '' });
  await session([
    ['--cluster site-a mirror image status vm-1', 'farside: mirroring not enabled on the image\n', 22],
    ['--cluster site-a mirror image disable vm-1', 'Mirroring disabled\n'],
    [
      '--cluster site-a mirror image enable nosuch snapshot',
      'farside: error opening image nosuch: (2) No such file or directory\n',
      2,
    ],
    ['--cluster site-a mirror image enable vm-1 snapshot', 'Mirroring enabled\n'],
    ['--cluster site-a mirror image enable vm-1 snapshot', 'Mirroring enabled\n'],
  ]);
  await network.settle();
  const readOnly = (text: string): string =>
    `farside: ${text}: (30) Read-only file system\nimage vm-1 is non-primary: it is read-only until it is promoted\n`;
  await session([
    ['--cluster site-b resize vm-1 --size 300M', readOnly('resize error'), 30],
    ['--cluster site-b snap create vm-1@x', readOnly('failed to create snapshot'), 30],
    [
      '--cluster site-b snap rm vm-1@x',
      'farside: failed to remove snapshot: (2) No such file or directory\nsnapshot x of image vm-1 does not exist\n',
      2,
    ],
    ['--cluster site-b rename vm-1 vm-2', readOnly('rename error'), 30],
    [
      '--cluster site-b image-meta set vm-1 k v',
      `failed to set metadata k of image : (30) Read-only file system\n${readOnly('setting metadata failed')}`,
      30,
    ],
    ['--cluster site-b import --update - vm-1', readOnly('import failed'), 30],
    [
      '--cluster site-b mirror image promote vm-1',
      'farside: error promoting image to primary\nimage is primary within a remote cluster or demotion is not propagated yet\n',
      16,
    ],
    [
      '--cluster site-b mirror image demote vm-1',
      'farside: error demoting image to non-primary\nimage is not primary\n',
      22,
    ],
    [
      '--cluster site-b mirror image disable vm-1',
      'farside: mirrored image is not primary, add force option to disable mirroring\n',
      22,
    ],
    [
      '--cluster site-a mirror image promote --force vm-1',
      'farside: error promoting image to primary\nimage is already primary\n',
      22,
    ],
    [
      '--cluster site-a mirror image resync vm-1',
      'farside: error flagging image resync\nimage is primary, cannot resync to itself\n',
      22,
    ],
    ['--cluster site-a mirror image demote vm-1', 'Image demoted to non-primary\n'],
  ]);
  expect(await farside('--cluster site-b rm vm-1')).toMatchObject({
    exitCode: 16,
    stderr: expect.stringMatching(/^farside: error: image still has watchers\n/) as string,
  });
  await network.settle();
  await session([['--cluster site-b mirror image promote vm-1', 'Image promoted to primary\n']]);
  expect((await farside('--cluster site-b export vm-1 -')).bytes.equals(bytes)).toBe(true);
  await session([
    ['--cluster site-b export vm-1 $home/out'],
    ['--cluster site-b du vm-1', 'NAME  PROVISIONED  USED   \nvm-1      5.0 MiB  5.0 MiB\n'],
  ]);
  expect((await readFile(join(home, 'out'))).equals(bytes)).toBe(true);
  await network.tick();
  const status = await farside('--cluster site-b mirror image status vm-1');
  expect(status.stdout).toMatch(
    /^vm-1:\n {2}global_id: {3}[\w-]+\n {2}state: {7}up\+stopped\n {2}description: local image is primary\n/,
  );
  expect((await farside('--cluster site-b snap ls --all vm-1')).stdout).toContain('mirror (primary peer_uuids:[');
});

test('schedules: levels, forms and errors', async () => {
  await pairSites();
  const schedule = '--cluster site-a mirror snapshot schedule';
  const failed = (verb: string, why: string): string =>
    `farside: rbd mirror snapshot schedule ${verb} failed: (22) Invalid argument: ${why}\n`;
  await session([
    ['--cluster site-a create vm-1 --size 8M'],
    ['--cluster site-a mirror image enable vm-1 snapshot', 'Mirroring enabled\n'],
    [`${schedule} ls`, '', 2],
    [`${schedule} ls --format json`, '', 2],
    [`${schedule} add -p rbd --image vm-1 1m`],
    [`${schedule} ls -p rbd`, '', 2],
    [`${schedule} ls -p rbd --image vm-1`, 'every 1m\n'],
    [`${schedule} ls -p rbd --image vm-1 --format json`, '[{"interval":"1m","start_time":""}]\n'],
    [`${schedule} ls -R`, 'POOL  NAMESPACE  IMAGE  SCHEDULE\nrbd              vm-1   every 1m\n'],
    [`${schedule} add -p rbd 24h 14:00:00-05:00`],
    [`${schedule} ls -p rbd`, 'every 1d starting at 14:00:00-05:00\n'],
    [`${schedule} add -p rbd 1s`, failed('add', 'Invalid interval (1s)'), 22],
    [`${schedule} add -p rbd 1h 25:00`, failed('add', 'Invalid start time 25:00: hour must be in 0..23: 25:00'), 22],
    [
      `${schedule} add -p rbd --image nosuch 1m`,
      failed('add', 'Invalid level spec rbd/nosuch: image nosuch does not exist'),
      22,
    ],
    [`${schedule} add -p nopool 1m`, failed('add', 'Invalid level spec nopool/: pool nopool does not exist'), 22],
    [`${schedule} ls -p nopool`, failed('list', 'Invalid level spec nopool/: pool nopool does not exist'), 22],
    [`${schedule} rm -p rbd --image vm-1 90m`],
    [`${schedule} status`, 'SCHEDULE TIME        IMAGE   \n2026-11-23 07:07:00  rbd/vm-1\n'],
    [`${schedule} rm -p rbd --image vm-1 1m`],
    [`${schedule} rm -p rbd`],
    [`${schedule} rm`],
    [`${schedule} status`, 'SCHEDULE TIME  IMAGE\n'],
    [`${schedule} status --format json`, '[]\n'],
  ]);
});

test('streams: diffs carry an image from one site to another, a pool token is enough; format 2 carries it back', async () => {
  await session([['--cluster site-a pool create rbd'], ['--cluster site-b pool create rbd']]);
  const { stdout } = await farside('--cluster site-b token create --scope pool:rbd');
  await registerSite(home, { name: 'b-rbd', url: 'http://site-b.test', token: stdout.trim(), platform: 'test' });
  const contents = [content('one', 300_000), content('two', 100_000), content('three', 500_001)];
  await farside('--cluster site-a import - vm', contents[0]);
  await session([['--cluster site-a snap create vm@s1'], ['--cluster b-rbd create vm --size 1M']]);
  await farside('--cluster site-a import --update - vm', contents[1]);
  await session([['--cluster site-a snap create vm@s2']]);
  await farside('--cluster site-a import --update - vm', contents[2]);
  for (const words of ['vm@s1', '--from-snap s1 vm@s2', '--from-snap s2 vm']) {
    const { bytes } = await farside(`--cluster site-a export-diff ${words} -`);
    expect(await farside('--cluster b-rbd import-diff - vm', bytes)).toMatchObject({ exitCode: 0, stderr: '' });
  }
  const { bytes } = await farside('--cluster b-rbd export --export-format 2 vm -');
  expect(await farside('--cluster site-a import --export-format 2 - back', bytes)).toMatchObject({ exitCode: 0 });
  expect(await farside('--cluster b-rbd import --export-format 2 - again', bytes)).toMatchObject({ exitCode: 0 });
  for (const image of ['--cluster site-b export vm', '--cluster site-a export back', '--cluster b-rbd export again']) {
    for (const [index, point] of ['@s1', '@s2', ''].entries())
      expect((await farside(`${image}${point} -`)).bytes.equals(contents[index]!)).toBe(true);
  }
});

test('tokens: a pool token may use its pool and nothing else', async () => {
  await session([['--cluster site-a pool create rbd'], ['--cluster site-a pool create other']]);
  const { stdout } = await farside('--cluster site-a token create --scope pool:rbd');
  await registerSite(home, { name: 'a-rbd', url: 'http://site-a.test', token: stdout.trim(), platform: 'test' });
  const denied = 'farside: this token may not do that\n';
  await session([
    ['--cluster a-rbd create vm-1 --size 1G'],
    ['--cluster a-rbd ls', 'vm-1\n'],
    ['--cluster a-rbd pool create more', denied, 1],
    [
      '--cluster a-rbd create other/vm-1 --size 1G',
      'farside: create error: (1) Operation not permitted\nthis token may not do that\n',
      1,
    ],
    ['--cluster a-rbd token ls', denied, 1],
    [
      '--cluster site-a token create --scope everything',
      "farside: invalid scope 'everything': use 'admin' or 'pool:<pool-name>'\n",
      22,
    ],
  ]);
  const [listed] = JSON.parse((await farside('--cluster site-a token ls --format json')).stdout) as {
    id: string;
    scope: string;
  }[];
  expect(listed).toMatchObject({ scope: 'pool:rbd' });
  await session([[`--cluster site-a token rm ${listed!.id}`]]);
});
