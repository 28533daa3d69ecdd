import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { sendStream } from '../../lib/node/send-stream.ts';
import { seededRandom } from '../image/model.ts';

const MiB = 1024 * 1024;
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** Answers every request with what `make` makes; gives the answers of `sendStream`. */
async function serve(make: () => Response): Promise<{ url: string; sent: Promise<Response>[] }> {
  const sent: Promise<Response>[] = [];
  const server = createServer((_, outgoing) => sent.push(sendStream(make(), outgoing)));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, sent };
}

type Source = { content: Uint8Array; cancelled: boolean };

function streamed(source: Source, bytes = source.content.length): Response {
  let at = 0;
  const body = new ReadableStream({
    type: 'bytes',
    pull(controller) {
      const request = controller.byobRequest!;
      const view = request.view as Uint8Array;
      const part = source.content.subarray(at, at + view.length);
      view.set(part);
      at += part.length;
      if (part.length === 0 && at < bytes) throw new Error('the disk is broken');
      if (part.length === 0) controller.close();
      request.respond(part.length);
    },
    cancel: () => void (source.cancelled = true),
  });
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(bytes), etag: '"e"' };
  return new Response(body, { headers });
}

test('bodies sent at once, in memory used by turns, arrive whole, each its own', async () => {
  let count = 0;
  const { url } = await serve(() => streamed({ content: seededRandom(count++).bytes(700_017), cancelled: false }));
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(url)));
    expect(answers.every(({ headers }) => headers.get('etag') === '"e"')).toBe(true);
    const bodies = await Promise.all(answers.map(async (answer) => Buffer.from(await answer.arrayBuffer())));
    const expected = Array.from({ length: 8 }, (_, index) =>
      Buffer.from(seededRandom(8 * round + index).bytes(700_017)),
    );
    expect(bodies.every((body) => expected.some((content) => content.equals(body)))).toBe(true);
    expect(new Set(bodies.map((body) => body.subarray(0, 16).toString('hex'))).size).toBe(8);
  }
});

test('an answer that is no byte stream is left to the server', async () => {
  const { sent, url } = await serve(() => new Response('{}', { headers: { 'content-type': 'application/json' } }));
  const request = get(url);
  request.once('error', () => undefined);
  await expect.poll(() => sent.length).toBe(1);
  expect(await (await sent[0]!).text()).toBe('{}');
  request.destroy();
});

test('a caller that goes away in the middle cancels the stream', async () => {
  const source = { content: Buffer.alloc(32 * MiB), cancelled: false };
  const { sent, url } = await serve(() => streamed(source));
  const [answer] = (await once(get(url), 'response')) as [IncomingMessage];
  answer.once('data', () => answer.destroy());
  await sent[0];
  expect(source.cancelled).toBe(true);
});

test('a body that fails in the middle is cut off, never ended as if it were whole', async () => {
  const { url } = await serve(() => streamed({ content: seededRandom(1).bytes(MiB), cancelled: false }, 2 * MiB));
  const answer = await fetch(url);
  await expect(answer.arrayBuffer()).rejects.toThrow('terminated');
});
