import { spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import type { Address } from '../../lib/nbd/listen.ts';
import { startNbdServer } from '../../lib/nbd/server.ts';
import { MemoryDevice, MemoryExports } from './memory-device.ts';
import { exportRequest, RawClient } from './raw-client.ts';
import { forget, scratchDirectory, serve, until } from './served.ts';

const MiB = 1024 * 1024;
const cmd = { read: 0, write: 1, disconnect: 2, flush: 3 };

test('one device for all connections and all names of an export, open until the server stops', async () => {
  const disk = new MemoryDevice(MiB);
  const exports = new MemoryExports({ disk, other: new MemoryDevice(MiB) });
  const { server, client } = await serve(exports);
  const [a, b, c] = [await client(), await client(), await client()];
  await Promise.all([a.go(''), b.go('disk'), c.go('disk')]);
  await a.ask(cmd.write, { data: Buffer.from('shared') });
  expect(await b.ask(cmd.read, { length: 6 })).toBe(0);
  expect((await b.receive(6)).toString()).toBe('shared');
  await Promise.all([a.disconnect(), b.disconnect(), c.disconnect()]);
  await until(() => server.status.connectionCount === 0, 'all have gone');
  expect([server.status.deviceCount, disk.closeCount]).toEqual([1, 0]);
  expect(exports.openCounts).toEqual(new Map([['disk', 1]]));
  disk.isNoting = true;
  await server.stop();
  await server.stop();
  expect(disk.calls).toEqual(['flush', 'close']);
});

test('stop: what was taken is answered, then connections end, then devices are flushed and closed', async () => {
  const disk = new MemoryDevice(MiB);
  const { server, client } = await serve({ disk });
  const raw = await client();
  const negotiating = await client();
  await raw.go();
  disk.isNoting = true;
  const slow = Promise.withResolvers<void>();
  disk.gates.set('write', slow.promise);
  raw.request(cmd.write, { data: Buffer.from('taken') });
  await until(() => disk.calls.length === 1, 'the write was taken');
  const stopped = server.stop();
  await expect(RawClient.connect(server.addresses[0]!)).rejects.toThrow('hung up');
  expect(await negotiating.isHungUp()).toBe(true);
  slow.resolve();
  expect(await raw.simpleReply()).toBe(0);
  expect(await raw.isHungUp()).toBe(true);
  await stopped;
  expect(disk.calls).toEqual(['write 0', 'flush', 'close']);
  expect(server.status).toEqual({ connectionCount: 0, deviceCount: 0, inFlightBytes: 0 });
});

test('stop: a client that does not read its replies is cut off in time', async () => {
  const disk = new MemoryDevice(64 * MiB);
  disk.poke(0, Buffer.alloc(32 * MiB, 1));
  const { server, client } = await serve({ disk }, { limits: { stopMs: 100 } });
  const raw = await client();
  await raw.go();
  raw.socket.pause();
  raw.request(cmd.read, { length: 32 * MiB });
  await until(() => server.status.inFlightBytes === 32 * MiB, 'the read was taken');
  await server.stop();
  expect(server.status.connectionCount).toBe(0);
});

test('stop: a device that never answers is given up, and it is told that what it was asked may be lost', async () => {
  const disk = new MemoryDevice(MiB);
  const never = Promise.withResolvers<void>();
  disk.write = () => never.promise;
  const { server, client } = await serve({ disk }, { limits: { stopMs: 50, deviceStopMs: 200 } });
  forget(server);
  const raw = await client();
  await raw.go();
  raw.request(cmd.write, { data: Buffer.alloc(512) });
  await until(() => server.status.inFlightBytes > 0, 'the write was taken');
  await expect(server.stop()).rejects.toMatchObject({
    code: 'ETIMEDOUT',
    message: expect.stringMatching(/^1 devices, .* within 0\.2 s: what they had not answered may not have been done$/),
  });
});

test('stop: a device that fails to flush is closed all the same, and the failure is told', async () => {
  const disks = { a: new MemoryDevice(MiB), b: new MemoryDevice(MiB), c: new MemoryDevice(MiB, { readOnly: true }) };
  const { server, client } = await serve(disks);
  forget(server);
  for (const name of ['a', 'b', 'c']) await (await client()).go(name);
  disks.c.isNoting = true;
  disks.a.failures.set('flush', new FarsideError('EIO', 'nothing is durable'));
  await expect(server.stop()).rejects.toThrow('nothing is durable');
  expect([disks.a.closeCount, disks.b.closeCount, disks.c.closeCount]).toEqual([1, 1, 1]);
  expect(disks.c.calls).toEqual(['close']);
});

test('a client that does not read its replies is not read either, and others go on', async () => {
  const disk = new MemoryDevice(64 * MiB);
  disk.poke(0, Buffer.alloc(MiB, 1));
  const { server, client } = await serve({ disk }, { limits: { requestBytesMax: MiB, connectionBytesMax: 4 * MiB } });
  const raw = await client();
  await raw.go();
  raw.socket.pause();
  disk.isNoting = true;
  for (let count = 0; count < 100; count++) raw.request(cmd.read, { length: MiB, cookie: count });
  await until(() => server.status.inFlightBytes === 4 * MiB, 'there is no more room');
  const other = await client();
  await other.go();
  for (let count = 0; count < 20; count++) expect(await other.ask(cmd.flush)).toBe(0);
  expect(server.status.inFlightBytes).toBe(4 * MiB);
  expect(disk.calls.filter((name) => name === 'read 0').length).toBeLessThan(8);
  raw.socket.resume();
  for (let count = 0; count < 100; count++) {
    expect(await raw.simpleReply(count)).toBe(0);
    await raw.inbox.skip(MiB);
  }
  await until(() => server.status.inFlightBytes === 0, 'all replies have left');
});

test('all connections together have a limit too: who asks first is served first', async () => {
  const disk = new MemoryDevice(64 * MiB);
  const { server, client } = await serve(
    { disk },
    { limits: { requestBytesMax: MiB, connectionBytesMax: MiB, serverBytesMax: 2 * MiB } },
  );
  const slow = Promise.withResolvers<void>();
  disk.gates.set('write', slow.promise);
  const clients = [await client(), await client(), await client()];
  for (const one of clients) {
    await one.go();
    one.request(cmd.write, { data: Buffer.alloc(MiB) });
  }
  disk.isNoting = true;
  await until(() => server.status.inFlightBytes === 2 * MiB, 'two writes were taken');
  slow.resolve();
  disk.gates.clear();
  for (const one of clients) expect(await one.simpleReply()).toBe(0);
});

test('requests without payload are bounded in number', async () => {
  const disk = new MemoryDevice(MiB);
  const { client } = await serve({ disk }, { limits: { requestCountMax: 10 } });
  const raw = await client();
  await raw.go();
  disk.isNoting = true;
  const slow = Promise.withResolvers<void>();
  disk.gates.set('flush', slow.promise);
  for (let count = 0; count < 50; count++) raw.request(cmd.flush, { cookie: count });
  await until(() => disk.calls.length === 10, 'ten flushes were taken');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(disk.calls.length).toBe(10);
  slow.resolve();
  for (let count = 0; count < 50; count++) expect(await raw.simpleReply(count)).toBe(0);
});

test('connections are bounded in number; a place that is given up is free', async () => {
  const { server, client } = await serve({ disk: new MemoryDevice(MiB) }, { limits: { connectionCountMax: 2 } });
  const first = await client();
  await (await client()).go();
  await expect(client()).rejects.toThrow('hung up');
  first.socket.destroy();
  await until(() => server.status.connectionCount === 1, 'one has gone');
  await (await client()).go();
});

test('devices are bounded in number', async () => {
  const disks = { a: new MemoryDevice(MiB), b: new MemoryDevice(MiB) };
  const { client } = await serve(disks, { limits: { deviceCountMax: 1 } });
  const raw = await client();
  await raw.go('a');
  const refused = (await (await client()).option(7, exportRequest('b'))).at(-1)!;
  expect(refused.data.toString()).toContain('1 exports are open');
});

test('a client that stops in the middle of a request is hung up on', async () => {
  const { server, client } = await serve({ disk: new MemoryDevice(MiB) }, { limits: { stallMs: 150 } });
  const [header, payload, idle] = [await client(), await client(), await client()];
  for (const raw of [header, payload, idle]) await raw.go();
  header.send(Buffer.from('25609513', 'hex'));
  payload.request(cmd.write, { length: 10, data: Buffer.alloc(9) });
  expect(await header.isHungUp()).toBe(true);
  expect(await payload.isHungUp()).toBe(true);
  expect(await idle.ask(cmd.flush)).toBe(0);
  expect(server.status).toEqual({ connectionCount: 1, deviceCount: 1, inFlightBytes: 0 });
});

test("a Unix socket is its owner's alone, is taken over from the dead, never from the living, and goes with the server", async () => {
  const path = join(scratchDirectory(), 'nbd.sock');
  const start = (): ReturnType<typeof startNbdServer> =>
    startNbdServer({ exports: new MemoryExports({ disk: new MemoryDevice(MiB) }), addresses: [{ path }] });
  const first = await start();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await expect(start()).rejects.toMatchObject({ code: 'EBUSY' });
  await (await RawClient.connect({ path })).go();
  await first.stop();
  expect(() => statSync(path)).toThrow('ENOENT');
  leaveStaleSocket(path);
  const second = await start();
  await (await RawClient.connect({ path })).go();
  await second.stop();
  writeFileSync(path, 'precious');
  await expect(start()).rejects.toMatchObject({ code: 'EEXIST' });
});

/** As a server leaves it that was killed. */
function leaveStaleSocket(path: string): void {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(statSync(path).isSocket()).toBe(true);
}

test('TCP: on 127.0.0.1 unless told otherwise; a port that is taken is told; several addresses at once', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const taken = other.address() as { port: number };
  const exports = new MemoryExports({ disk: new MemoryDevice(MiB) });
  const where: Address = { host: '127.0.0.1', port: taken.port };
  await expect(startNbdServer({ exports, addresses: [where] })).rejects.toMatchObject({ code: 'EBUSY' });
  await new Promise((resolve) => other.close(resolve));
  const addresses: Address[] = [{ host: '127.0.0.1', port: 0 }, { path: join(scratchDirectory(), 'nbd.sock') }];
  const { server } = await serve(exports, { addresses });
  expect(server.uri).toMatch(/^nbd:\/\/127\.0\.0\.1:\d+$/);
  for (const address of server.addresses) await (await RawClient.connect(address)).go();
  expect(exports.openCounts).toEqual(new Map([['disk', 1]]));
});
