import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { threadedDownload } from '../../lib/node/download.ts';
import { seededRandom } from '../image/model.ts';

const MiB = 1024 * 1024;
const limits = { bytesMax: 4 * MiB, timeoutMs: 20_000 };
const download = threadedDownload();
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener, onConnection?: (socket: Socket) => void): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  if (onConnection) server.on('connection', onConnection);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

test('a body arrives whole, with status and headers, and memory that was let go of is used again', async () => {
  const content = seededRandom(1).bytes(3 * MiB);
  const url = await serve((request, response) => {
    response.setHeader('etag', '"e"');
    response.setHeader('x-seen', request.headers.range ?? '');
    response.setHeader('content-length', content.length);
    response.end(content);
  });
  const first = await download(url, { range: 'bytes=0-' }, limits);
  expect(first.response.status).toBe(200);
  expect(first.response.headers.get('etag')).toBe('"e"');
  expect(first.response.headers.get('x-seen')).toBe('bytes=0-');
  expect(Buffer.compare(first.body, content)).toBe(0);
  const second = await download(url, {}, limits);
  expect(second.body.buffer).not.toBe(first.body.buffer);
  first.release?.();
  first.release?.();
  const third = await download(url, {}, limits);
  const fourth = await download(url, {}, limits);
  expect(third.body.buffer).not.toBe(fourth.body.buffer);
  for (const { body } of [second, third, fourth]) expect(Buffer.compare(body, content)).toBe(0);
});

test('a body of unknown length arrives whole', async () => {
  const content = seededRandom(2).bytes(2.5 * MiB);
  const url = await serve((_, response) => {
    response.write(content.subarray(0, MiB));
    response.end(content.subarray(MiB));
  });
  expect(Buffer.compare((await download(url, {}, limits)).body, content)).toBe(0);
});

test('empty answers, failures and redirects are told as they are', async () => {
  const url = await serve((_, response) => {
    response.writeHead(307, { location: 'http://elsewhere.test/' });
    response.end();
  });
  const { response, body } = await download(url, {}, limits);
  expect([response.status, response.headers.get('location'), body.length]).toEqual([307, 'http://elsewhere.test/', 0]);
});

test('more than allowed is EFBIG, announced or not', async () => {
  const announced = await serve((_, response) => {
    response.setHeader('content-length', 5 * MiB);
    response.end(Buffer.alloc(5 * MiB));
  });
  await expect(download(announced, {}, limits)).rejects.toMatchObject({ code: 'EFBIG' });
  let sent = 0;
  const endless = await serve((request, response) => {
    const more = (): void => {
      while (!request.socket.destroyed && response.write(Buffer.alloc(MiB))) sent += 1;
      if (sent < 1000) response.once('drain', more);
    };
    more();
  });
  await expect(download(endless, {}, limits)).rejects.toMatchObject({ code: 'EFBIG' });
  expect(sent).toBeLessThan(100);
});

test('an answer that is cut off, or never comes, fails as fetch does', async () => {
  const cut = await serve((_, response) => {
    response.setHeader('content-length', MiB);
    response.write(Buffer.alloc(1000), () => response.destroy());
  });
  await expect(download(cut, {}, limits)).rejects.toThrow(TypeError);
  const silent = await serve(() => undefined);
  await expect(download(silent, {}, { ...limits, timeoutMs: 300 })).rejects.toMatchObject({ name: 'TimeoutError' });
  await expect(download('http://127.0.0.1:1/', {}, limits)).rejects.toThrow(TypeError);
});

test('connections are kept, and one that the server closed meanwhile is no failure', async () => {
  const sockets: Socket[] = [];
  const url = await serve(
    (_, response) => response.end('ok'),
    (socket) => sockets.push(socket),
  );
  for (let round = 0; round < 6; round++) {
    expect(Buffer.from((await download(url, {}, limits)).body).toString()).toBe('ok');
    if (round === 3) for (const socket of sockets) socket.destroy();
  }
  expect(sockets.length).toBeLessThan(6);
});
