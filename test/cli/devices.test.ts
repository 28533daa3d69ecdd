// Registrations of servers: read by their owner only, and never believed of a process that is gone.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { listServers, registerServer } from '../../lib/cli/nbd/devices.ts';

const root = mkdtempSync(join(tmpdir(), 'farside-devices-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const spec = { pool: 'rbd', namespace: 'n', image: 'vm', snap: 's' };
const uri = 'nbd://127.0.0.1:10809/rbd/n/vm@s';
const served = [{ spec, uri }];

test('a server is listed from its registration to its end, and nobody else may read where', async () => {
  const home = join(root, 'one');
  expect(await listServers(home)).toEqual([]);
  const unregister = await registerServer(home, 'site-a', served);
  const path = join(home, 'devices', `${process.pid}.json`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(home, 'devices')).mode & 0o777).toBe(0o700);
  expect(await listServers(home)).toEqual([
    { pid: process.pid, started: expect.any(String), site: 'site-a', exports: [{ ...spec, uri }], path },
  ]);
  await unregister();
  expect(await listServers(home)).toEqual([]);
});

test('what a dead server left is dropped, also when its process id is taken again; what is next door or damaged is left alone', async () => {
  const home = join(root, 'two');
  await registerServer(home, 'site-a', served);
  const path = join(home, 'devices', `${process.pid}.json`);
  const own = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const put = (name: string, change: Record<string, unknown>): void =>
    writeFileSync(join(home, 'devices', name), JSON.stringify({ ...own, ...change }));
  put('1.json', { started: 'long ago' });
  put('2.json', { pid: 2_000_000_000 });
  put('3.json', { pidNamespace: 'pid:[1]', started: 'who knows' });
  put('4.json', { boot: 'another', machine: 'another' });
  put('5.json', { exports: 'none' });
  put('6.json', { boot: 'before' });
  expect((await listServers(home)).map((server) => server.path)).toEqual([path]);
  const left = readdirSync(join(home, 'devices')).filter((name) => name !== `${process.pid}.json`);
  const hasMachine = own['machine'] !== '';
  expect(left.toSorted()).toEqual(['3.json', '4.json', '5.json', ...(hasMachine ? [] : ['6.json'])]);
});
