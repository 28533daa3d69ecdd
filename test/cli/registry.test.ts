import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FarsideError } from '../../lib/errors.ts';
import {
  changeSite,
  farsideHome,
  findSite,
  listSites,
  registerSite,
  unregisterSite,
  type Registration,
} from '../../lib/cli/sites/registry.ts';

const site = (name: string): Registration => ({
  name,
  url: 'http://127.0.0.1:7480',
  token: `secret-of-${name}`,
  platform: 'node',
  directory: `/d/${name}`,
});

let root: string;
let home: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'farside-registry-'));
  home = join(root, 'deep', 'farside');
});
afterEach(() => rm(root, { recursive: true }));

describe('registry', () => {
  test('home: FARSIDE_HOME, else the config directory', () => {
    expect(farsideHome({ FARSIDE_HOME: '/x' })).toBe('/x');
    expect(farsideHome({ XDG_CONFIG_HOME: '/c', HOME: '/h' })).toBe('/c/farside');
    expect(farsideHome({ HOME: '/h' })).toBe('/h/.config/farside');
  });

  test('an absent home is an empty list, and reading does not create it', async () => {
    expect(await listSites(home)).toEqual([]);
    await expect(stat(home)).rejects.toThrow('ENOENT');
  });

  test('sites are listed by name, found, replaced and forgotten', async () => {
    await registerSite(home, site('b'));
    await registerSite(home, site('a'));
    await registerSite(home, { ...site('b'), pid: 7 });
    expect(await listSites(home)).toEqual([site('a'), { ...site('b'), pid: 7 }]);
    expect(await findSite(home, 'a')).toEqual(site('a'));
    await unregisterSite(home, 'a');
    await unregisterSite(home, 'a');
    expect(await findSite(home, 'a')).toBeUndefined();
  });

  test('only the user can read it, and nothing is left beside it', async () => {
    await registerSite(home, site('a'));
    expect((await stat(home)).mode & 0o777).toBe(0o700);
    expect((await stat(join(home, 'sites.json'))).mode & 0o777).toBe(0o600);
    expect(await readdir(home)).toEqual(['sites.json']);
  });

  test('a change that throws leaves everything as it was, and the lock free', async () => {
    await registerSite(home, site('a'));
    const failing = changeSite(home, 'a', () => {
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    await registerSite(home, site('b'));
    expect((await listSites(home)).map(({ name }) => name)).toEqual(['a', 'b']);
  });

  test('changes at the same time: none is lost', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `site-${String(index).padStart(2, '0')}`);
    await Promise.all(names.map((name) => registerSite(home, site(name))));
    expect((await listSites(home)).map(({ name }) => name)).toEqual(names);
  });

  test('processes at the same time: none of their changes is lost', async () => {
    const names = ['p0', 'p1', 'p2', 'p3'];
    await Promise.all(names.map(registerInProcess));
    expect((await listSites(home)).map(({ name }) => name)).toEqual(
      names.flatMap((name) => [0, 1, 2, 3, 4].map((index) => `${name}-${index}`)),
    );
  });

  test('the lock of a dead process is broken, by several at once too', async () => {
    await registerSite(home, site('a'));
    await writeFile(join(home, 'sites.lock'), `${await deadPid()} 00000000-0000-4000-8000-000000000000`);
    await Promise.all(['b', 'c', 'd'].map((name) => registerSite(home, site(name))));
    expect((await listSites(home)).map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd']);
    expect(await readdir(home)).toEqual(['sites.json']);
  });

  test('the lock of a living process is waited for, and the wait has an end', async () => {
    await registerSite(home, site('a'));
    await writeFile(join(home, 'sites.lock'), `${process.pid} 00000000-0000-4000-8000-000000000000`);
    const clock = { nowMs: () => 0, sleep: () => Promise.resolve() };
    await expect(changeSite(home, 'a', () => undefined, clock)).rejects.toMatchObject({ code: 'EBUSY' });
  });

  test('a malformed file is said to be one, without its content', async () => {
    await registerSite(home, site('a'));
    const path = join(home, 'sites.json');
    await writeFile(path, (await readFile(path, 'utf8')).slice(0, -20));
    const failure = await listSites(home).then(String, (error: FarsideError) => `${error.code}: ${error.message}`);
    expect(failure).toContain(`EBADMSG: ${path}`);
    expect(failure).not.toContain('secret-of');
  });
});

const registryModule = join(import.meta.dirname, '../../lib/cli/sites/registry.ts');

function runNode(script: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.on('exit', (code) => (code === 0 ? resolve(child.pid) : reject(new Error(`exit ${code}`))));
  });
}

async function registerInProcess(name: string): Promise<void> {
  await runNode(`
    const { registerSite } = await import(${JSON.stringify(registryModule)});
    for (let index = 0; index < 5; index += 1) {
      await registerSite(${JSON.stringify(home)}, { ...${JSON.stringify(site(name))}, name: '${name}-' + index });
    }`);
}

const deadPid = (): Promise<number | undefined> => runNode('');
