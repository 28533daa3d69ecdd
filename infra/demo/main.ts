// `npm run demo`: the main job, end to end, with the commands that a user would type. Two sites on this machine (the Worker
// in miniflare), a real disk, scheduled mirror snapshots, a delta, a failover, and the proof that nothing was lost.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock as clock } from '../../lib/clock.ts';
import { requestCostUsd, type Requests } from '../prices.ts';
import { changeDisk, makeDisk, sha256 } from './disk.ts';
import { demoShell, type Shell } from './shell.ts';

const sites = ['site-a', 'site-b'] as const;
const tickSeconds = 2;
const waitMsMax = 45_000;
/** The schedule is awaited when its next slot is this near; else the on-demand trigger takes the snapshot. */
const slotWaitMsMax = 25_000;
const image = 'rbd/disk';

const { values: flags } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const directory = await mkdtemp(join(tmpdir(), 'farside-demo-'));
const home = join(directory, 'home');
const shell = demoShell(home, directory);
const startedMs = clock.nowMs();

async function demo({ step, farside, say, tool }: Shell): Promise<void> {
  step('Start two sites: each is a bucket, a queue and a Worker in miniflare');
  await Promise.all(
    sites.map((name) => farside(['site', 'start', '--name', name, '--tick-seconds', `${tickSeconds}`, '--detach'])),
  );
  for (const site of sites) await farside(['--cluster', site, 'pool', 'create', 'rbd'], { quiet: true });

  step('Make a disk and import it at site-a');
  const disk = await makeDisk(demoShell(home, directory), directory);
  say(
    disk.kind === 'ext4'
      ? 'an ext4 file system with a log and a database (mke2fs -d files disk.img)'
      : 'a synthetic disk (mke2fs is not installed)',
  );
  await farside(['--cluster', 'site-a', 'import', disk.path, image]);

  step('Make the sites peers');
  for (const site of sites) await farside(['--cluster', site, 'mirror', 'pool', 'enable', 'rbd', 'image']);
  const token = join(directory, 'token');
  await farside(
    ['--cluster', 'site-a', 'mirror', 'pool', 'peer', 'bootstrap', 'create', '--site-name', 'site-a', 'rbd'],
    { stdoutTo: token },
  );
  await farside([
    '--cluster',
    'site-b',
    'mirror',
    'pool',
    'peer',
    'bootstrap',
    'import',
    '--site-name',
    'site-b',
    'rbd',
    token,
  ]);

  step('Mirror the image, with a snapshot every minute; site-b makes the replica by itself');
  await farside(['--cluster', 'site-a', 'mirror', 'image', 'enable', image, 'snapshot']);
  await farside(['--cluster', 'site-a', 'mirror', 'snapshot', 'schedule', 'add', '-p', 'rbd', '1m']);
  const first = await caughtUp('the initial sync');
  say(`replica complete: ${megabytes(first.last_snapshot_bytes)} copied`);

  step('Change the disk: a new file of 3 MB; upload only what differs; let the next snapshot carry it over');
  const before = await usage();
  const changedBytes = await changeDisk(shell, disk, directory);
  await farside(['--cluster', 'site-a', 'import', '--update', disk.path, image]);
  const second = await deltaArrived(first.local_snapshot_timestamp);
  const used = difference(await usage(), before);
  say(
    `changed ${megabytes(changedBytes)}, sent ${megabytes(second.last_snapshot_bytes)}; ${used.A} class A and ${used.B} class B requests at both sites, upload and ticks included: $${requestCostUsd(used).toFixed(6)} at list price`,
  );

  step('Fail over in good order: demote site-a, promote site-b');
  await farside(['--cluster', 'site-a', 'mirror', 'image', 'demote', image]);
  await eventually('the demotion to arrive', async () =>
    (await mirrorStatus()).description.includes('remote image demoted') ? true : undefined,
  );
  await farside(['--cluster', 'site-b', 'mirror', 'image', 'promote', image]);

  step('Export the promoted replica and prove it equal');
  const restored = join(directory, 'restored.img');
  await farside(['--cluster', 'site-b', 'export', image, restored]);
  const [original, copy] = [await sha256(disk.path), await sha256(restored)];
  say(`disk.img     sha256 ${original}`);
  say(`restored.img sha256 ${copy}`);
  if (original !== copy) throw new Error('the replica differs from the disk');
  const checked = disk.kind === 'ext4' ? await tool('e2fsck', ['-fn', restored]) : undefined;
  if (checked)
    say(`e2fsck -fn restored.img: exit code ${checked.code}, ${checked.code === 0 ? 'clean' : checked.output}`);
  if (checked && checked.code !== 0) throw new Error('the replica has file system errors');
  say(`equal, ${((clock.nowMs() - startedMs) / 1000).toFixed(0)} s after the start`);
}

type Replaying = {
  replay_state: string;
  last_snapshot_bytes: number;
  local_snapshot_timestamp: number;
  remote_snapshot_timestamp: number;
};
type Status = { state: string; description: string };

async function mirrorStatus(): Promise<Status> {
  const text = await shell.farside(['--cluster', 'site-b', 'mirror', 'image', 'status', image, '--format', 'json'], {
    quiet: true,
  });
  return JSON.parse(text) as Status;
}

/** The figures in the status of the replica, once it holds the newest snapshot that it knows of. */
async function caughtUp(what: string, newerThan = 0): Promise<Replaying> {
  return await eventually(what, async () => {
    const status = await mirrorStatus().catch(() => undefined); // until the replica exists, there is no such image
    const found = status?.description.match(/^replaying, (\{.*\})$/);
    if (!found) return undefined;
    const figures = JSON.parse(found[1]!) as Replaying;
    return figures.replay_state === 'idle' && figures.local_snapshot_timestamp > newerThan ? figures : undefined;
  });
}

async function deltaArrived(newerThan: number): Promise<Replaying> {
  const untilSlotMs = 60_000 - (clock.nowMs() % 60_000);
  if (untilSlotMs <= slotWaitMsMax) {
    shell.say(`the schedule's next snapshot is ${Math.ceil(untilSlotMs / 1000)} s away: waiting for it`);
    await clock.sleep(untilSlotMs);
  } else {
    await shell.farside(['--cluster', 'site-a', 'mirror', 'image', 'snapshot', image]);
  }
  return await caughtUp('the delta', newerThan);
}

async function eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const untilMs = clock.nowMs() + waitMsMax;
  while (clock.nowMs() < untilMs) {
    const found = await look();
    if (found !== undefined) return found;
    await clock.sleep(300);
  }
  throw new Error(`waited ${waitMsMax / 1000} s for ${what} in vain`);
}

async function usage(): Promise<Requests> {
  const total = { A: 0, B: 0 };
  for (const site of sites) {
    const { requests } = JSON.parse(
      await shell.farside(['site', 'info', '--cluster', site, '--format', 'json'], { quiet: true }),
    ) as { requests: Requests };
    total.A += requests.A;
    total.B += requests.B;
  }
  return total;
}

const difference = (after: Requests, before: Requests): Requests => ({ A: after.A - before.A, B: after.B - before.B });
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

async function tidyUp(): Promise<void> {
  if (flags.keep) {
    console.log(
      `\nThe sites go on. Play with them:\n   export FARSIDE_HOME=${home}\n   farside --cluster site-b mirror pool status rbd --verbose\nand in the end: farside site stop --name site-a; farside site stop --name site-b; rm -r ${directory}`,
    );
    return;
  }
  for (const site of sites)
    await shell.farside(['site', 'stop', '--name', site], { quiet: true }).catch(() => undefined);
  await rm(directory, { recursive: true, force: true });
}

try {
  await demo(shell);
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await tidyUp();
}
