// Owns the reception of packs in a Node process: on threads, into memory that is used again and again, and that the codec's threads
// see in place. `fetch` would make each body anew, several times over, and the collector would work as long as the network.

import { FarsideError } from '../errors.ts';
import type { Download } from '../site/peer-http.ts';
import { Rooms } from './rooms.ts';
import { onThread } from './threads.ts';

/** Smaller bodies are copied out, so that nobody need let go of them. */
const keptBytesMin = 256 * 1024;

/** `Download` on threads. Memory: a room per body that was not released, and those that `rooms` keeps. */
export const threadedDownload =
  (rooms = new Rooms()): Download =>
  async (url, headers, limits) => {
    const taken = rooms.take();
    const received = await onThread('receive', { url, headers, ...limits, room: taken });
    if ('failure' in received) {
      rooms.give(taken);
      throw failed(received);
    }
    const { status, room, bytes } = received;
    const response = new Response(null, { status, headers: received.headers });
    if (bytes < keptBytesMin) {
      const body = Buffer.from(Buffer.from(room, 0, bytes));
      rooms.give(taken, room);
      return { response, body };
    }
    let isGiven = false;
    const release = (): void => {
      if (!isGiven) rooms.give(taken, room);
      isGiven = true;
    };
    return { response, body: Buffer.from(room, 0, bytes), release };
  };

/** As `fetch` would fail. */
function failed({ failure, message }: { failure: string; message: string }): Error {
  if (failure === 'too large') return new FarsideError('EFBIG', message);
  return failure === 'timeout' ? new DOMException(message, 'TimeoutError') : new TypeError(message);
}
