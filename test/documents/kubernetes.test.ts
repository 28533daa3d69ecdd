// Failover and failback as a controller drives them that knows docs/kubernetes.md and nothing else: its commands are the table's,
// its conditions those of the rules. No rule looks into farside.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { World } from '../transcripts/world.ts';

const image = 'rbd/pvc-1';
const other = { 'site-a': 'site-b', 'site-b': 'site-a' } as const;
type SiteName = keyof typeof other;

const commandOf = new Map(
  [
    ...readFileSync(join(import.meta.dirname, '../../docs/kubernetes.md'), 'utf8').matchAll(
      /^\| (.+?) \| `(farside --cluster SITE .+?)` \|$/gm,
    ),
  ].map((match) => [match[1]!, match[2]!]),
);

let world: World;
beforeAll(async () => {
  world = await World.start(['site-a', 'site-b']);
  for (const site of ['site-a', 'site-b']) await ok(`farside --cluster ${site} pool create rbd`);
  await ok('farside --cluster site-a mirror pool enable rbd image');
  await ok('farside --cluster site-a mirror pool peer bootstrap create --site-name site-a rbd > token');
  await ok('farside --cluster site-b mirror pool peer bootstrap import --site-name site-b rbd token');
  world.startReplaying();
  await ok('head -c 300000 /dev/urandom > disk.img');
  await ok(`farside --cluster site-a import disk.img ${image}`);
});
afterAll(() => world.stop());

async function ok(line: string): Promise<string> {
  const said = await world.run(line);
  expect({ line, exitCode: said.exitCode, stderr: said.stderr }).toEqual({ line, exitCode: 0, stderr: '' });
  return said.stdout;
}

const call = (name: string, site: SiteName): ReturnType<World['run']> =>
  world.run(commandOf.get(name)!.replace('SITE', site).replace('IMAGE', image));

type Status = { state: string; description: string; peer_sites: { state: string; description: string }[] };
const json = async <T>(name: string, site: SiteName): Promise<T> => JSON.parse((await call(name, site)).stdout) as T;
const statusOf = (site: SiteName): Promise<Status> => json('GetVolumeReplicationInfo', site);

async function isPrimary(site: SiteName): Promise<boolean> {
  return (await json<{ mirroring: { primary: boolean } }>('is it primary?', site)).mirroring.primary;
}

/** One reconciliation towards a state; whether it is reached. */
async function reconcile(
  site: SiteName,
  state: 'primary' | 'secondary',
  options: { force?: boolean } = {},
): Promise<boolean> {
  if ((await isPrimary(site)) === (state === 'primary')) return true;
  const { exitCode } = await call(
    state === 'secondary' ? 'DemoteVolume' : options.force ? 'PromoteVolume, force' : 'PromoteVolume',
    site,
  );
  expect([0, 16]).toContain(exitCode);
  return exitCode === 0;
}

const isDemotedAtBoth = ({ state, peer_sites: peers }: Status): boolean =>
  state === 'up+unknown' && peers.every((peer) => peer.state === 'up+unknown');
const isReplicating = ({ state }: Status): boolean => state === 'up+replaying';
const needsResync = ({ state, description }: Status): boolean =>
  state === 'up+error' && description.includes('split-brain');
const isSynced = (status: Status): boolean =>
  isReplicating(status) && status.description.includes('"replay_state":"idle"');

const reconciliationsMax = 200;

/** As a controller: looks again after a while, until it is so. */
async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (let count = 0; count < reconciliationsMax; count += 1) {
    await world.settle();
    if (await isSo()) return;
  }
  throw new Error(`after ${reconciliationsMax} reconciliations it is still not true: ${what}`);
}

const untilStatus = (site: SiteName, rule: (status: Status) => boolean): Promise<void> =>
  until(async () => rule(await statusOf(site)), `${rule.name} at ${site}`);

/** From one site to the other, in order. */
async function move(from: SiteName): Promise<void> {
  await until(() => reconcile(from, 'secondary'), `${from} is secondary`);
  await untilStatus(from, isDemotedAtBoth);
  await untilStatus(other[from], isDemotedAtBoth);
  await until(() => reconcile(other[from], 'primary'), `${other[from]} is primary`);
  await untilStatus(from, isReplicating);
}

const contentOf = (site: SiteName): Promise<string> => ok(`farside --cluster ${site} export ${image} - | sha256sum`);

async function write(site: SiteName): Promise<string> {
  await ok('head -c 300000 /dev/urandom > disk.img');
  await ok(`farside --cluster ${site} import --update disk.img ${image}`);
  return ok('sha256sum < disk.img');
}

test('the table has a command for every call', () => {
  expect(commandOf.size).toBe(8);
});

test('enable: the secondary replicates, and the last sync is told', async () => {
  expect((await call('EnableVolumeReplication', 'site-a')).stdout).toBe('Mirroring enabled\n');
  await until(async () => (await call('GetVolumeReplicationInfo', 'site-b')).exitCode === 0, 'the replica is there');
  await untilStatus('site-b', isReplicating);
  await until(async () => (await statusOf('site-a')).peer_sites[0]!.state === 'up+replaying', 'the primary knows');
  const { description } = (await statusOf('site-a')).peer_sites[0]!;
  const sync = JSON.parse(description.slice(description.indexOf('replaying, ') + 'replaying, '.length)) as Record<
    string,
    unknown
  >;
  expect(sync).toMatchObject({
    local_snapshot_timestamp: expect.any(Number) as number,
    last_snapshot_sync_seconds: expect.any(Number) as number,
    last_snapshot_bytes: expect.any(Number) as number,
  });
});

test('failover and failback by the rules alone lose nothing', async () => {
  const first = await contentOf('site-a');
  await move('site-a');
  expect(await contentOf('site-b')).toBe(first);
  const second = await write('site-b');
  await move('site-b');
  expect(await contentOf('site-a')).toBe(second);
  expect(await isPrimary('site-b')).toBe(false);
});

test('without force nobody becomes primary beside a primary; every call may be repeated', async () => {
  expect((await call('PromoteVolume', 'site-b')).exitCode).toBe(16);
  expect((await call('ResyncVolume, force', 'site-a')).exitCode).toBe(22);
  expect((await call('EnableVolumeReplication', 'site-a')).exitCode).toBe(0);
  expect(await reconcile('site-a', 'primary')).toBe(true);
  expect(await reconcile('site-b', 'secondary')).toBe(true);
});

test('forced: the old primary needs a resync, which ends in step with the new one', async () => {
  await until(() => reconcile('site-b', 'primary', { force: true }), 'site-b is primary');
  await write('site-a');
  const winner = await write('site-b');
  await until(() => reconcile('site-a', 'secondary'), 'site-a is secondary');
  await untilStatus('site-a', needsResync);
  expect((await call('ResyncVolume, force', 'site-a')).exitCode).toBe(0);
  await untilStatus('site-a', isSynced);
  await move('site-b');
  expect(await contentOf('site-a')).toBe(winner);
});

test('disable: the secondary goes', async () => {
  expect((await call('DisableVolumeReplication', 'site-a')).stdout).toBe('Mirroring disabled\n');
  await until(async () => (await call('is it primary?', 'site-b')).exitCode === 2, 'the replica is gone');
});
