// Owns sending a large answer from a Node server: its byte stream is read into memory that the next part, and the next answer,
// uses again. A buffer for each body would have the collector search the whole heap of the site every few answers.

import type { ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';

/** A part is read at once, and sent before the next: small enough to stay in a processor's cache. */
const partBytes = 256 * 1024;
/** Parts kept for the next answers. */
const freePartsMax = 16;

const freeParts: ArrayBuffer[] = [];

/** `response` itself, unless its body is a byte stream: then it is sent, and the answer says so to the server. */
export async function sendStream(response: Response, outgoing: ServerResponse): Promise<Response> {
  const reader = isBinary(response) ? byteReader(response.body) : undefined;
  if (!reader) return response;
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  try {
    await sendParts(reader, outgoing);
    outgoing.end();
  } catch {
    outgoing.destroy(); // its length was announced, so the other side sees that it was cut off
    await reader.cancel().catch(() => undefined);
  }
  return RESPONSE_ALREADY_SENT;
}

/** Asked first: to look at the body of any other answer would cost more than to send it. */
const isBinary = ({ headers }: Response): boolean =>
  headers.get('content-type') === 'application/octet-stream' && headers.has('content-length');

function byteReader(body: ReadableStream<Uint8Array> | null): ReadableStreamBYOBReader | undefined {
  try {
    return body?.getReader({ mode: 'byob' });
  } catch {
    return undefined; // not a byte stream
  }
}

async function sendParts(reader: ReadableStreamBYOBReader, outgoing: ServerResponse): Promise<void> {
  const closed = new Promise<void>((resolve) => outgoing.once('close', resolve));
  let part = freeParts.pop() ?? new ArrayBuffer(partBytes);
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(part));
    if (!value) return;
    part = value.buffer;
    if (done) break;
    // Until the connection has taken it, or is gone, the part may not be filled again.
    await Promise.race([written(outgoing, value), closed]);
    if (outgoing.destroyed) throw new Error('the connection was closed');
  }
  if (freeParts.length < freePartsMax) freeParts.push(part);
}

function written(outgoing: ServerResponse, part: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    outgoing.write(part, (error) => (error ? reject(error) : resolve()));
  });
}
