// Sessions about pools, namespaces and peers; see session.test.ts.

import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Sessions } from './sessions.ts';

let operator: Sessions;
beforeEach(async () => {
  operator = await Sessions.start();
});
afterEach(() => operator.end());

const a = '--cluster site-a';

test('modes: each change says what rbd says, and none stops the mirroring of an image in passing', async () => {
  const stillMirrored = 'farside: failed to disable mirror mode: there are still images with mirroring enabled';
  await operator.session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} mirror pool enable rbd`, "farside: must specify 'image' or 'pool' mode.\n", 22],
    [`${a} mirror pool enable rbd bogus`, "farside: must specify 'image' or 'pool' mode.\n", 22],
    [`${a} mirror pool enable rbd init-only`],
    [`${a} mirror pool enable rbd init-only`, 'farside: mirroring is already configured for init-only mode\n'],
    [`${a} mirror pool info rbd`, 'Mode: init-only\nSite Name: site-a\nMirror UUID: <uuid>\n\nPeer Sites: none\n'],
    [
      `${a} mirror image enable vm-1 snapshot`,
      'farside: cannot enable mirroring: mirroring is not enabled on a pool\n',
      22,
    ],
    [`${a} mirror pool enable rbd image`],
    [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n'],
    [`${a} mirror pool disable rbd`, `${stillMirrored}\n`, 22],
    [`${a} mirror pool enable rbd init-only`, `${stillMirrored}\n`, 22],
    [`${a} mirror pool enable rbd pool`, 'note: changing mirroring mode from image to pool\n'],
    [`${a} mirror image disable vm-1`, 'farside: cannot disable mirroring in the current pool mirroring mode\n', 22],
    [`${a} mirror pool disable rbd`, `${stillMirrored}: switch to image mode, then disable them one by one\n`, 22],
    [`${a} mirror pool status rbd`, expectedStatus],
    [`${a} mirror pool enable rbd image`, 'note: changing mirroring mode from pool to image\n'],
    [`${a} mirror image disable vm-1`, 'Mirroring disabled\n'],
    [`${a} mirror pool disable rbd`],
    [`${a} mirror image disable vm-1`, 'farside: cannot disable mirroring in the current pool mirroring mode\n', 22],
  ]);
});

const expectedStatus = `health: WARNING
daemon health: UNKNOWN
image health: WARNING
images: 1 total
    1 unknown
`;

test('namespaces: made, listed, mirrored by themselves, and removed when empty', async () => {
  const disabled = 'farside: mirroring not enabled on the pool\n';
  await operator.session([
    [`${a} pool create rbd`],
    [`${a} namespace ls rbd`],
    [`${a} mirror pool info rbd/ns1`, "farside: namespace 'ns1' does not exist.\n", 2],
    [`${a} mirror pool status rbd/ns1`, "farside: namespace 'ns1' does not exist.\n", 2],
    [`${a} mirror pool disable rbd/ns1`, "farside: namespace 'ns1' does not exist.\n", 2],
    [`${a} info rbd/ns1/vm-1`, "farside: namespace 'ns1' does not exist.\n", 2],
    [`${a} namespace create rbd`, 'farside: namespace name was not specified\n', 22],
    [`${a} namespace create rbd/ns1`],
    [
      `${a} namespace create rbd/ns1`,
      expect.stringMatching(/^farside: failed to created namespace: \(17\) File exists/),
      17,
    ],
    [`${a} namespace create --pool rbd --namespace ns2`],
    [`${a} namespace ls rbd`, 'NAME\nns1 \nns2 \n'],
    [`${a} namespace ls rbd --format json`, '[{"name":"ns1"},{"name":"ns2"}]\n'],
    [`${a} create rbd/none/vm-1 --size 8M`, expect.stringContaining("namespace 'none' does not exist."), 2],
    [`${a} ls rbd/none`, expect.stringContaining("namespace 'none' does not exist."), 2],
    [`${a} mirror pool enable rbd/none image`, "farside: namespace 'none' does not exist.\n", 2],
    [`${a} mirror pool enable rbd/ns1 init-only`, 'farside: init-only mode cannot be set on a namespace\n', 22],
    [`${a} create rbd/ns1/vm-1 --size 8M`],
    [
      `${a} mirror image enable rbd/ns1/vm-1 snapshot`,
      'farside: cannot enable mirroring: mirroring is not enabled on a namespace\n',
      22,
    ],
    [`${a} mirror pool enable rbd/ns1 image`],
    [`${a} mirror pool enable rbd/ns1 image`, 'farside: mirroring is already configured for image mode\n'],
    [`${a} mirror pool info rbd/ns1`, 'Mode: image\nMirror UUID: <uuid>\n'],
    [`${a} mirror pool info rbd`, 'Mode: disabled\n'],
    [`${a} mirror pool status rbd`, disabled, 22],
    [`${a} mirror pool status rbd/ns1 --format json`, expect.stringContaining('"states":{}')],
    [`${a} mirror image enable rbd/ns1/vm-1 snapshot`, 'Mirroring enabled\n'],
    [`${a} mirror pool status rbd/ns1 --format json`, expect.stringContaining('"states":{"unknown":1}')],
    [`${a} mirror snapshot schedule add -p rbd --namespace ns1 5m`],
    [
      `${a} mirror snapshot schedule add -p rbd --namespace ns2 5m`,
      expect.stringContaining('namespace ns2 is not in mirror image mode'),
      22,
    ],
    [
      `${a} mirror snapshot schedule add -p rbd --namespace none 5m`,
      expect.stringContaining('namespace none does not exist'),
      22,
    ],
    [`${a} namespace rm rbd/ns1`, expect.stringContaining("namespace 'ns1' is mirrored"), 16],
    [`${a} pool rm rbd`, expect.stringContaining('is mirrored'), 16],
    [`${a} mirror image disable rbd/ns1/vm-1`, 'Mirroring disabled\n'],
    [`${a} mirror pool disable rbd/ns1`],
    [`${a} namespace rm rbd/ns1`, 'farside: namespace contains images which must be deleted first.\n', 16],
    [`${a} rm rbd/ns1/vm-1`],
    [`${a} namespace rm rbd/ns1`],
    [`${a} namespace rm rbd/ns1`, 'farside: namespace does not exist.\n', 2],
    [`${a} namespace ls rbd`, 'NAME\nns2 \n'],
  ]);
});

test('remote namespaces: stored when they differ, and fixed while mirroring is on', async () => {
  const enabling = `${a} mirror pool enable`;
  await operator.session([
    [`${a} pool create rbd`],
    ...['x', 'y', 'z'].map((name) => [`${a} namespace create rbd/${name}`] as const),
    [`${enabling} --remote-namespace there rbd/x image`],
    [`${a} mirror pool info rbd/x`, 'Mode: image\nMirror UUID: <uuid>\nRemote Namespace: there\n'],
    [
      `${enabling} --remote-namespace elsewhere rbd/x image`,
      expect.stringContaining('cannot change the remote namespace while mirroring is enabled'),
      22,
    ],
    [`${enabling} rbd/x image`, 'farside: mirroring is already configured for image mode\n'],
    [
      `${enabling} --remote-namespace there rbd/y image`,
      "farside: remote namespace 'there' is mirrored by namespace 'x' already\n",
      22,
    ],
    [`${enabling} --remote-namespace '' rbd/z image`],
    [`${enabling} rbd image`, "farside: remote namespace '' is mirrored by namespace 'z' already\n", 22],
    [`${enabling} rbd init-only`],
    [`${a} mirror pool disable rbd/x`],
    [`${enabling} rbd/x image`],
    [`${a} mirror pool info rbd/x`, 'Mode: image\nMirror UUID: <uuid>\n'],
  ]);
});

test('whole pools are demoted and promoted, in a namespace too; what fails is told, what is done already is skipped', async () => {
  const b = '--cluster site-b';
  await operator.pairSites();
  for (const site of [a, b])
    await operator.session([[`${site} namespace create rbd/ns`], [`${site} mirror pool enable rbd/ns image`]]);
  for (const spec of ['vm-1', 'vm-2', 'ns/vm-3'])
    await operator.session([
      [`${a} create rbd/${spec} --size 8M`],
      [`${a} mirror image enable rbd/${spec} snapshot`, 'Mirroring enabled\n'],
    ]);
  await operator.session([[`${a} create vm-0 --size 8M`]]);
  await operator.network.settle();
  const busy = (image: string) =>
    `farside: failed to promote image ${image}: (16) Device or resource busy\nimage is primary within a remote cluster or demotion is not propagated yet\n`;
  await operator.session([
    [`${b} mirror pool promote rbd`, `Promoted 0 mirrored images\n${busy('vm-1')}${busy('vm-2')}`, 16],
    [`${a} mirror pool demote rbd`, 'Demoted 2 mirrored images\n'],
    [`${a} mirror pool demote rbd`, 'Demoted 0 mirrored images\n'],
    [`${a} mirror pool demote rbd/ns`, 'Demoted 1 mirrored images\n'],
  ]);
  await operator.network.settle();
  await operator.session([
    [`${b} mirror pool promote rbd`, 'Promoted 2 mirrored images\n'],
    [`${b} mirror pool promote rbd`, 'Promoted 0 mirrored images\n'],
    [`${b} mirror pool promote --force rbd/ns`, 'Promoted 1 mirrored images\n'],
    [`${b} mirror pool promote none`, "farside: error opening pool 'none': (2) No such file or directory\n", 2],
    [`${b} pool create other`],
    [`${b} mirror pool promote other`, 'farside: mirroring not enabled on the pool\n', 22],
    [`${b} mirror pool demote other`, 'farside: mirroring not enabled on the pool\n', 22],
  ]);
});

test('peers: the session of a real rbd with two sites that never mirror', async () => {
  const b = '--cluster site-b';
  const none = '00000000-0000-0000-0000-000000000000';
  const several = 'farside: multiple RX peers are not currently supported\n';
  const failed = 'farside: failed to import peer bootstrap token\n';
  const info = (peers: string) => `Mode: image\nSite Name: site-b\nMirror UUID: <uuid>\n\nPeer Sites: ${peers}\n`;
  for (const site of [a, b]) await operator.session([[`${site} pool create rbd`]]);
  await operator.session([
    [`${b} mirror pool peer add rbd client.x@site-a`, 'farside: mirroring not enabled on the pool\n', 22],
    [`${a} mirror pool enable --site-name site-a rbd image`],
    [`${b} mirror pool enable --site-name site-b rbd image`],
  ]);
  await writeFile(
    `${operator.home}/token`,
    (await operator.farside(`${a} mirror pool peer bootstrap create rbd`)).stdout,
  );
  const importing = `${b} mirror pool peer bootstrap import`;
  await operator.session([
    [
      `${importing} --direction rx-only --site-name site-a rbd $home/token`,
      expect.stringContaining('duplicate site name'),
      22,
    ],
    [`${b} mirror pool info rbd`, info('none')],
    [
      `${importing} --direction tx-only rbd $home/token`,
      "farside: the argument for option '--direction' is invalid\n",
      1,
    ],
    [`${importing} rbd $home/nosuchfile`, `farside: error opening ${operator.home}/nosuchfile\n`, 2],
    [`${importing} --direction rx-only rbd $home/token`],
    [
      `${b} mirror pool info rbd`,
      info('\n\nUUID: <uuid>\nName: site-a\nMirror UUID: <uuid>\nDirection: rx-only\nClient: client.rbd-mirror-peer'),
    ],
    [`${a} mirror pool info rbd`, expect.stringContaining('Peer Sites: none')],
    [`${importing} rbd $home/token`, `${failed}multiple peers are not currently supported\n`, 22],
    [`${b} mirror pool peer add rbd client.x@thirdsite`, several, 22],
    [`${b} mirror pool peer add rbd @x`, "farside: invalid spec '@x'\n", 22],
    [`${b} mirror pool peer add rbd`, 'farside: remote cluster was not specified\n', 22],
    [`${b} mirror pool disable rbd`, 'farside: mirror peers still registered\n', 16],
  ]);
  const uuid = async (): Promise<string> =>
    JSON.parse((await operator.farside(`${b} mirror pool info rbd --format json`)).stdout).peers[0].uuid;
  const setting = `${b} mirror pool peer set rbd ${await uuid()}`;
  const removing = `${b} mirror pool peer remove rbd`;
  await operator.session([
    [`${setting} client bogusclient`],
    [
      `${setting} bogus-key v`,
      "farside: must specify 'client', 'cluster', 'direction', 'key-file', 'mon-host', 'site-name' key.\n",
      22,
    ],
    [`${setting} direction sideways`, 'farside: invalid direction\n', 22],
    [`${b} mirror pool peer set rbd ${none} client x`, 'farside: mirror peer <uuid> does not exist\n', 2],
    [`${b} mirror pool peer set rbd x client x`, 'farside: invalid uuid\n', 22],
    [`${b} mirror pool peer set rbd`, 'farside: must specify peer uuid\n', 22],
    [`${setting} direction rx-tx`],
    [`${removing} ${none}`],
    [`${removing} ${await uuid()}`],
    [`${a} mirror pool disable rbd`],
    [`${a} mirror pool enable rbd image`],
    [
      `${b} mirror pool peer add rbd client.rbd-mirror-peer@site-b`,
      'farside: error adding mirror peer\ncannot add self as remote peer\n',
      22,
    ],
    [`${b} mirror pool peer add rbd nosite`, '<uuid>\n'],
    [
      `${b} mirror pool info rbd`,
      info('\n\nUUID: <uuid>\nName: nosite\nMirror UUID: \nDirection: rx-tx\nClient: client.admin'),
    ],
    [`${b} mirror pool info --all rbd`, expect.stringContaining('Client: client.admin\nMon Host: \nKey: \n')],
  ]);
  await operator.session([
    [`${removing} ${await uuid()}`],
    [`${b} mirror pool peer add rbd client.rbd-mirror-peer@site-a`, '<uuid>\n'],
    [
      `${b} mirror pool info --all rbd`,
      expect.stringMatching(
        /Name: site-a\n.*\nDirection: rx-tx\nClient: client.rbd-mirror-peer\nMon Host: https:\/\/site-a.test\nKey: [\w-]{43}\n/,
      ),
    ],
  ]);
  await operator.session([
    [`${removing} ${await uuid()}`],
    [`${b} mirror pool disable rbd`],
    [`${a} mirror pool disable rbd`],
    [`${a} mirror pool peer bootstrap create rbd/ns1`, "farside: invalid pool 'rbd/ns1'\n", 22],
    [`${a} mirror pool peer add rbd/ns1 client.x@y`, "farside: invalid pool 'rbd/ns1'\n", 22],
  ]);
});
