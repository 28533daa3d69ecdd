// TLS, with certificates made here by openssl.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import type { TlsSettings } from '../../lib/nbd/server.ts';
import { requireTool } from '../require.ts';
import { Certificates } from './certificates.ts';
import { MemoryDevice } from './memory-device.ts';
import { exportRequest, RawClient, repError } from './raw-client.ts';
import { makeDirectory, runTool, serve, toolOk, until, type Served } from './served.ts';
import { usedBytes } from './used-memory.ts';

const MiB = 1024 * 1024;
const handshakesPerRound = 100;
/** Collected garbage aside, what one of them may leave on average: far less than a secure context. */
const leftBytesMax = 4 * 1024;
const hasOpenssl = requireTool('openssl');
const hasClients = requireTool('nbdinfo') && requireTool('nbdcopy');

let certificates: Certificates;
beforeAll(() => {
  if (!hasOpenssl) return () => {};
  const { directory, remove } = makeDirectory();
  certificates = new Certificates(directory);
  return remove;
});

const pem = (name: string): string => certificates.pem(name);

function settings(mode: TlsSettings['mode'], asksClients = false): TlsSettings {
  return { mode, key: pem('server-key'), cert: pem('server-cert'), ...(asksClients ? { ca: pem('ca-cert') } : {}) };
}

async function serveTls(tls: TlsSettings, device = new MemoryDevice(8 * MiB)): Promise<Served & { tlsUri: string }> {
  const served = await serve({ disk: device }, { tls, addresses: [{ host: '127.0.0.1', port: 0 }] });
  const tlsUri = `${served.uri.replace(/^nbds?:\/\/127\.0\.0\.1/, 'nbds://localhost')}/?tls-certificates=${certificates.directory}`;
  return { ...served, tlsUri };
}

/** Asks for TLS, shakes hands, and goes on as a client inside. */
async function upgraded(raw: RawClient, identity?: string): Promise<RawClient> {
  expect(await raw.optionError(5)).toBe(0);
  raw.socket.removeAllListeners('data');
  const own = identity === undefined ? {} : { key: pem(`${identity}-key`), cert: pem(`${identity}-cert`) };
  const secure = connectTls({ socket: raw.socket, ca: pem('ca-cert'), servername: 'localhost', ...own });
  const inside = new RawClient(secure);
  await new Promise<void>((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', reject);
  });
  return inside;
}

describe.skipIf(!hasOpenssl)('TLS by hand', () => {
  test('required: every other option is refused until it is on, and export name is hung up on', async () => {
    const { client } = await serveTls(settings('required'));
    const raw = await client();
    for (const code of [3, 6, 7, 8, 9, 10, 4711]) expect(await raw.optionError(code)).toBe(repError.tlsRequired);
    const old = await client();
    old.sendOption(1);
    expect(await old.isHungUp()).toBe(true);
    const leaving = await client();
    expect(await leaving.optionError(2)).toBe(0);
    const inside = await upgraded(raw);
    expect(await inside.optionError(5)).toBe(repError.invalid);
    expect((await inside.go()).sizeBytes).toBe(8 * MiB);
    expect(await inside.ask(1, { data: Buffer.alloc(MiB, 7) })).toBe(0);
    expect(await inside.ask(0, { length: MiB })).toBe(0);
    expect((await inside.receive(MiB)).every((byte) => byte === 7)).toBe(true);
  });

  test('what was negotiated before is forgotten', async () => {
    const { client } = await serveTls(settings('allowed'));
    const raw = await client();
    await raw.option(8);
    const inside = await upgraded(raw);
    expect((await inside.go()).flags & 0x80).toBe(0);
    expect(await inside.ask(3)).toBe(0);
  });

  test('allowed: a client may do without', async () => {
    const { client } = await serveTls(settings('allowed'));
    const raw = await client();
    await raw.go();
    expect(await raw.ask(3)).toBe(0);
  });

  test('bytes sent before the encryption, to be taken for encrypted ones, end the connection', async () => {
    const { client, server } = await serveTls(settings('allowed'));
    const raw = await client();
    raw.socket.cork();
    raw.sendOption(5);
    raw.sendOption(7, exportRequest('disk'));
    raw.socket.uncork();
    expect(await raw.isHungUp()).toBe(true);
    await until(() => server.status.connectionCount === 0, 'the connection is gone');
  });

  test('garbage instead of a handshake ends the connection, and leaves nothing behind', async () => {
    const { client, server } = await serveTls(settings('required'));
    const raw = await client();
    expect(await raw.optionError(5)).toBe(0);
    raw.send(Buffer.from('this is no ClientHello, and never will be one'));
    await raw.closed;
    await until(() => server.status.connectionCount === 0, 'the connection is gone');
  });

  test('hundreds of handshakes that fail, or are broken off, leave nothing in memory', async () => {
    const { client, server, failures } = await serveTls(settings('required', true));
    const hello = Buffer.from('16030100050100000100', 'hex');
    const attack = async (index: number): Promise<void> => {
      const raw = await client();
      expect(await raw.optionError(5)).toBe(0);
      raw.send([Buffer.from('no ClientHello at all'), hello, hello.subarray(0, 4)][index % 3]!);
      if (index % 2 === 0) raw.socket.destroy();
      else raw.socket.end();
      await raw.closed;
    };
    const used: number[] = [];
    for (let round = 0; round < 4; round++) {
      for (let index = 0; index < handshakesPerRound; index += 10)
        await Promise.all(Array.from({ length: 10 }, (_, at) => attack(index + at)));
      await until(() => server.status.connectionCount === 0, 'all connections are gone');
      used.push(usedBytes());
    }
    expect(failures).toEqual([]);
    expect(used.at(-1)! - used[0]!).toBeLessThan(3 * handshakesPerRound * leftBytesMax);
  });

  test('a handshake that is not ended in time ends the connection', async () => {
    const device = new MemoryDevice(MiB);
    const options = { tls: settings('required'), limits: { handshakeMs: 200 } };
    const { client, server } = await serve({ disk: device }, options);
    const raw = await client();
    expect(await raw.optionError(5)).toBe(0);
    await raw.closed;
    await until(() => server.status.connectionCount === 0, 'the connection is gone');
  });

  test('what was sent inside before the client ended its side is done and answered', async () => {
    const device = new MemoryDevice(8 * MiB);
    const { client, server } = await serveTls(settings('required'), device);
    const inside = await upgraded(await client());
    await inside.go();
    const slow = Promise.withResolvers<void>();
    device.gates.set('write', slow.promise);
    device.isNoting = true;
    inside.request(1, { data: Buffer.alloc(4096, 3) });
    inside.socket.end();
    await until(() => device.calls.includes('write 0'), 'the write was taken');
    await new Promise((resolve) => setTimeout(resolve, 50)); // for the end to come, too
    slow.resolve();
    expect(await inside.simpleReply()).toBe(0);
    expect(await inside.isHungUp()).toBe(true);
    await until(() => server.status.connectionCount === 0, 'the connection is gone');
  });

  test('with a CA, only clients with a certificate that it signed may come', async () => {
    const { client, server } = await serveTls(settings('required', true));
    const inside = await upgraded(await client(), 'client');
    expect((await inside.go()).sizeBytes).toBe(8 * MiB);
    for (const identity of ['stranger', undefined]) {
      const refused = await upgraded(await client(), identity).catch(() => undefined);
      if (refused) refused.sendOption(3);
      expect((await refused?.isHungUp()) ?? true).toBe(true);
    }
    await inside.disconnect();
    await until(() => server.status.connectionCount === 0, 'all connections are gone');
  });
});

describe.skipIf(!hasOpenssl || !hasClients)('TLS by libnbd', () => {
  test('nbdinfo and nbdcopy over nbds://: encrypted, and the same bytes', async () => {
    const device = new MemoryDevice(8 * MiB);
    device.poke(0, Buffer.alloc(3 * MiB, 5));
    const { tlsUri, directory: scratch } = await serveTls(settings('required', true), device);
    const info = JSON.parse(await toolOk('nbdinfo', ['--json', '--no-content', tlsUri])) as Record<string, unknown>;
    expect(info['TLS']).toBe(true);
    const file = join(scratch, 'copy.raw');
    await toolOk('nbdcopy', [tlsUri, file]);
    expect(readFileSync(file).equals(device.peek(0, 8 * MiB))).toBe(true);
    writeFileSync(file, Buffer.alloc(8 * MiB, 6));
    await toolOk('nbdcopy', [file, tlsUri]);
    expect(device.peek(0, 8 * MiB).equals(readFileSync(file))).toBe(true);
  });

  test('without TLS nothing is to be had where it is required', async () => {
    const { uri } = await serveTls(settings('required'));
    const { code, stderr } = await runTool('nbdinfo', [uri.replace('nbds:', 'nbd:')]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('Operation not supported')]);
  });
});
