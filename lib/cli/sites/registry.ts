// Owns FARSIDE_HOME and its `sites.json`: which sites this user's CLI knows, how to reach them and with which token.
//
// - The directory is 0700 and the file 0600, since it holds tokens. Tokens leave it only as Authorization headers.
// - A reader never sees half a file: writes go to a temporary file that is renamed over the old one.
// - Concurrent processes never lose each other's changes: a change is made under `sites.lock`. A lock whose owner died
//   is broken by whoever wins the right to break exactly that lock.
// Not promised: safety on a file system shared between machines (owners are told apart by pid).

import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { systemClock, type Clock } from '../../clock.ts';
import { FarsideError } from '../../errors.ts';
import { parseJson } from '../../json.ts';
import { systemRandom } from '../../random.ts';
import { storePlaceSchema } from '../../site/config.ts';

export const registrationSchema = z.object({
  name: z.string().min(1),
  url: z.url(),
  /** Bearer token of the site's API. Secret. */
  token: z.string().min(1),
  /** `node`, `miniflare`: run on this machine. `cloudflare`, `aws` …: deployed, only spoken to. */
  platform: z.string().min(1),
  pid: z.int().positive().optional(),
  directory: z.string().optional(),
  /** Where image data is read and written with the user's own credentials; missing: through the site. */
  store: storePlaceSchema.optional(),
});
export type Registration = z.infer<typeof registrationSchema>;

const registrySchema = z.object({ version: z.literal(1), sites: z.array(registrationSchema) });

const lockWaitMs = 20;
const lockWaitsMax = 500;

/** `$FARSIDE_HOME`, else `farside` under the user's config directory. */
export function farsideHome(env: NodeJS.ProcessEnv = process.env): string {
  if (env['FARSIDE_HOME']) return env['FARSIDE_HOME'];
  return join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config'), 'farside');
}

/** All registered sites in order of name; an absent home or file is an empty list. Malformed: EBADMSG naming the file. */
export async function listSites(home: string): Promise<Registration[]> {
  const path = join(home, 'sites.json');
  const text = await readIfThere(path);
  if (text === undefined) return [];
  const parsed = registrySchema.safeParse(parseJson(text));
  if (!parsed.success)
    throw new FarsideError(
      'EBADMSG',
      `${path} is malformed: repair it, or remove it and register the sites again with 'farside site add'`,
    );
  return parsed.data.sites.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

export async function findSite(home: string, name: string): Promise<Registration | undefined> {
  return (await listSites(home)).find((site) => site.name === name);
}

/**
 * Reads, changes and writes one registration under the lock. `change` is given the present one (undefined: none) and
 * returns the next (undefined: remove). Throwing leaves everything as it was. Returns what is registered afterwards.
 */
export async function changeSite(
  home: string,
  name: string,
  change: (present: Registration | undefined) => Registration | undefined,
  clock: Clock = systemClock,
): Promise<Registration | undefined> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  return await withLock(home, clock, async () => {
    const sites = await listSites(home);
    const next = change(sites.find((site) => site.name === name));
    const others = sites.filter((site) => site.name !== name);
    await writeSites(home, next ? [...others, registrationSchema.parse(next)] : others);
    return next;
  });
}

/** Adds the site, or replaces the registration of that name. */
export async function registerSite(home: string, site: Registration): Promise<void> {
  await changeSite(home, site.name, () => site);
}

/** Removing a site that is not registered succeeds. */
export async function unregisterSite(home: string, name: string): Promise<void> {
  await changeSite(home, name, () => undefined);
}

async function writeSites(home: string, sites: Registration[]): Promise<void> {
  const temporary = join(home, `sites.json.${process.pid}.${systemRandom.uuid()}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify({ version: 1, sites }, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(home, 'sites.json'));
}

async function withLock<T>(home: string, clock: Clock, work: () => Promise<T>): Promise<T> {
  const path = join(home, 'sites.lock');
  await takeLock(path, clock);
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function takeLock(path: string, clock: Clock): Promise<void> {
  const owner = `${process.pid} ${systemRandom.uuid()}`;
  for (let waits = 0; waits < lockWaitsMax; waits += 1) {
    if (await createFile(path, owner)) return;
    const holder = await readIfThere(path);
    if (holder !== undefined && isAbandoned(holder)) await breakLock(path, holder);
    else await clock.sleep(lockWaitMs);
  }
  throw new FarsideError('EBUSY', `the list of sites is locked: if no other farside command runs, remove ${path}`);
}

/**
 * Removes a dead owner's lock. The marker is named after that very lock, so one process at a time may break it; and while
 * it holds the marker nobody else removes the lock, so the second look decides.
 */
async function breakLock(path: string, holder: string): Promise<void> {
  const marker = `${path}.break-${holder.split(' ')[1] ?? 'unknown'}`;
  if (!(await createFile(marker, ''))) return;
  if ((await readIfThere(path)) === holder) await rm(path, { force: true });
  await rm(marker, { force: true });
}

/** An empty or half-written lock is its owner's first microsecond, not a dead owner. */
function isAbandoned(holder: string): boolean {
  const pid = Number(/^(\d+) [0-9a-f-]{36}$/.exec(holder)?.[1]);
  return Number.isSafeInteger(pid) && !isProcessAlive(pid);
}

/** Whether a process of that id runs on this machine (it may be another program by now). */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return errnoName(cause) === 'EPERM';
  }
}

async function createFile(path: string, text: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    await file.writeFile(text);
    await file.close();
    return true;
  } catch (cause) {
    if (errnoName(cause) === 'EEXIST') return false;
    throw cause;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (errnoName(cause) === 'ENOENT') return undefined;
    throw cause;
  }
}

const errnoName = (cause: unknown): unknown => (cause instanceof Error && 'code' in cause ? cause.code : undefined);
