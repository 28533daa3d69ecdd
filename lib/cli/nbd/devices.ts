// Owns which images are served on this machine: each `nbd serve` of this user leaves a registration in FARSIDE_HOME while it runs
// (0600, since it names a site's images), and takes it away when it has given its images back. One that died leaves it behind, to be
// dropped by whoever looks next. Of processes in another container that share FARSIDE_HOME nothing is known: they are left alone.

import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { ImageSpec } from '../../image/deps.ts';
import { parseJson } from '../../json.ts';
import { isGoneFrom } from '../../node/attach-owner.ts';
import { identifyProcess, isRunning, processPlace, signalProcess } from '../../node/process-identity.ts';

const servedSchema = z.object({
  pool: z.string(),
  namespace: z.string(),
  image: z.string(),
  snap: z.string().optional(),
  /** As clients take it. */
  uri: z.string(),
});
const registrationSchema = z.object({
  version: z.literal(1),
  pid: z.int().positive(),
  started: z.string().min(1),
  machine: z.string(),
  boot: z.string(),
  pidNamespace: z.string(),
  site: z.string(),
  exports: z.array(servedSchema).min(1),
});
type Registration = z.infer<typeof registrationSchema>;

/** One process that serves images. */
export type Server = Pick<Registration, 'pid' | 'started' | 'site' | 'exports'> & { path: string };

/** Registrations looked at; more than a machine serves. */
const serversMax = 10_000;

const folderOf = (home: string): string => join(home, 'devices');
const suffix = '.json';

/** Says that this process serves images; what it gives takes that back. */
export async function registerServer(
  home: string,
  site: string,
  served: readonly { spec: ImageSpec; uri: string }[],
): Promise<() => Promise<void>> {
  const identity = identifyProcess(process.pid);
  if (identity === undefined) return async () => {}; // a system that does not tell: then nobody could be told apart either
  const exports = served.map(({ spec: { pool, namespace, image, snap }, uri }) => ({
    pool,
    namespace,
    image,
    uri,
    ...(snap !== undefined && { snap }),
  }));
  const path = join(folderOf(home), `${process.pid}${suffix}`);
  await mkdir(folderOf(home), { recursive: true, mode: 0o700 });
  await writeWhole(path, { version: 1, ...identity, ...processPlace(), site, exports });
  return () => rm(path, { force: true });
}

async function writeWhole(path: string, registration: Registration): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(registration)}\n`);
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/** Those that run, by process id. */
export async function listServers(home: string): Promise<Server[]> {
  const names = (await readdir(folderOf(home)).catch(() => [])).filter((name) => name.endsWith(suffix));
  const servers: Server[] = [];
  for (const name of names.slice(0, serversMax)) {
    const server = await lookAt(join(folderOf(home), name));
    if (server) servers.push(server);
  }
  return servers.toSorted((a, b) => a.pid - b.pid);
}

async function lookAt(path: string): Promise<Server | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const parsed = registrationSchema.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const { pid, started, site, exports } = parsed.data;
  const here = processPlace();
  if (isGoneFrom(here, parsed.data, pid)) await rm(path, { force: true });
  else if (here.boot === parsed.data.boot && here.pidNamespace === parsed.data.pidNamespace)
    return { pid, started, site, exports, path };
  return undefined;
}

/** Asks it to end, as Ctrl-C would. */
export const endServer = (server: Server): boolean => signalProcess(server, 'SIGTERM');

export const isServing = (server: Server): boolean => isRunning(server);

/** Once it does not run: whether it ended without giving its images back. */
export async function wasLost({ path }: Server): Promise<boolean> {
  const isLeft = (await readFile(path, 'utf8').catch(() => '')) !== '';
  if (isLeft) await rm(path, { force: true });
  return isLeft;
}
