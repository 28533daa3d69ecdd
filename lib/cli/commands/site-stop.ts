// `site stop`: ends the server of a local site, politely first. A pid is signalled only while it is the process that the
// directory's lock names.

import { existsSync } from 'node:fs';
import { isRunning, signalProcess, type ProcessIdentity } from '../../node/process-identity.ts';
import { sitePaths } from '../../../infra/local/site-directory.ts';
import { lockHolder, lockSite } from '../../../infra/local/site-lock.ts';
import { killLeftoverWorkerd } from '../../../infra/local/workerd-guard.ts';
import type { Clock } from '../../clock.ts';
import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { registeredSite, siteNameOption, withoutPid } from '../sites/local-sites.ts';
import { changeSite } from '../sites/registry.ts';

const pollMs = 20;
const politeWaitMs = 15_000;
const killWaitMs = 5000;

export const siteStop = defineCommand({
  path: 'site stop',
  summary: 'stop a site on this machine',
  description: 'Its objects stay, and so do its registration and its URL. Succeeds when the site does not run.',
  arguments: {},
  options: { name: siteNameOption },
  examples: ['farside site stop --name site-a'],
  async run({ options, context }) {
    const { name } = options;
    const directory = await localDirectory(context.home, name);
    const holder = lockHolder(directory);
    if (holder !== undefined) await stopProcess(holder, context.terminal.clock);
    if (existsSync(directory)) await cleanUp(directory);
    await changeSite(context.home, name, (present) => (present === undefined ? undefined : withoutPid(present)));
    context.output.line(holder === undefined ? `${name} does not run` : `${name} is stopped`);
  },
});

async function localDirectory(home: string, name: string): Promise<string> {
  const site = await registeredSite(home, name);
  if (site.directory === undefined)
    throw new FarsideError('EINVAL', `site '${name}' does not run on this machine but at ${site.url}`);
  return site.directory;
}

/** Under the lock, so that no starting server loses its workerd. */
async function cleanUp(directory: string): Promise<void> {
  const lock = lockSite(directory);
  try {
    await killLeftoverWorkerd(sitePaths(directory).workerdPid);
  } finally {
    lock.release();
  }
}

async function stopProcess(server: ProcessIdentity, clock: Clock): Promise<void> {
  signalProcess(server, 'SIGTERM');
  if (await isGone(server, clock, politeWaitMs)) return;
  signalProcess(server, 'SIGKILL');
  if (await isGone(server, clock, killWaitMs)) return;
  throw new FarsideError('EBUSY', `process ${server.pid} does not end: look at it with 'ps -fp ${server.pid}'`);
}

async function isGone(server: ProcessIdentity, clock: Clock, waitMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < waitMs; waitedMs += pollMs) {
    if (!isRunning(server)) return true;
    await clock.sleep(pollMs);
  }
  return !isRunning(server);
}
