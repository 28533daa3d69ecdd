// Owns receiving one answer on a thread: a GET over a connection that is kept, its body straight into shared memory. On a thread of
// its own the garbage of a socket (a buffer per 64 KiB) is collected beside a small heap, not beside the whole site's.

import http from 'node:http';
import https from 'node:https';

const roomUnitBytes = 1024 * 1024;

/** `room`: memory to use where it is large enough. */
export type ReceiveTask = {
  url: string;
  headers: Record<string, string>;
  bytesMax: number;
  timeoutMs: number;
  room: SharedArrayBuffer;
};

export type Received = { status: number; headers: [string, string][]; room: SharedArrayBuffer; bytes: number };
/** Errors lose their class on the way to another thread, so they are told. */
export type ReceiveFailure = { failure: 'timeout' | 'too large' | 'unreachable'; message: string };

const options = { keepAlive: true };
const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };

export async function receive(task: ReceiveTask): Promise<Received | ReceiveFailure> {
  const signal = AbortSignal.timeout(task.timeoutMs);
  for (;;) {
    const request = send(task, signal);
    try {
      return await answerTo(request, task);
    } catch (error) {
      request.destroy();
      if (signal.aborted) return { failure: 'timeout', message: 'no answer in time' };
      // The server closed a kept connection just as the request went out on it.
      if (request.reusedSocket && isReset(error)) continue;
      return {
        failure: error instanceof TooLarge ? 'too large' : 'unreachable',
        message: error instanceof Error ? error.message : String(error),
      };
    }
  }
}

function send({ url, headers }: ReceiveTask, signal: AbortSignal): http.ClientRequest {
  return new URL(url).protocol === 'https:'
    ? https.get(url, { headers, signal, agent: agents['https:'] })
    : http.get(url, { headers, signal, agent: agents['http:'] });
}

const isReset = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ECONNRESET';

class TooLarge extends Error {}

function answerTo(request: http.ClientRequest, task: ReceiveTask): Promise<Received> {
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.once('response', (answer) => {
      answer.once('error', reject);
      answer.once('close', () => reject(new Error('the connection ended in the middle of the answer')));
      try {
        const body = new Body(Number(answer.headers['content-length'] ?? Number.NaN), task);
        answer.on('data', (chunk: Buffer) => {
          if (!body.add(chunk)) answer.destroy(new TooLarge('the answer is too large'));
        });
        answer.once('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: headersOf(answer), ...body.taken }),
        );
      } catch (error) {
        reject(error);
      }
    });
  });
}

function headersOf(answer: http.IncomingMessage): [string, string][] {
  return Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
  );
}

/** Memory being filled: as large as announced, or growing. */
class Body {
  readonly #bytesMax: number;
  #room: Buffer<SharedArrayBuffer>;
  #bytes = 0;

  constructor(announced: number, { bytesMax, room }: Pick<ReceiveTask, 'bytesMax' | 'room'>) {
    if (announced > bytesMax) throw new TooLarge(`the answer has ${announced} bytes, more than ${bytesMax}`);
    this.#bytesMax = bytesMax;
    this.#room = Buffer.from(announced > room.byteLength ? roomFor(announced) : room);
  }

  /** False beyond the limit. */
  add(chunk: Buffer): boolean {
    const bytes = this.#bytes + chunk.length;
    if (bytes > this.#bytesMax) return false;
    if (bytes > this.#room.length) {
      const larger = Buffer.from(roomFor(Math.min(this.#bytesMax, 2 * bytes)));
      this.#room.copy(larger, 0, 0, this.#bytes);
      this.#room = larger;
    }
    chunk.copy(this.#room, this.#bytes); // `set` into shared memory goes word by word
    this.#bytes = bytes;
    return true;
  }

  get taken(): Pick<Received, 'room' | 'bytes'> {
    return { room: this.#room.buffer, bytes: this.#bytes };
  }
}

const roomFor = (bytes: number): SharedArrayBuffer =>
  new SharedArrayBuffer(Math.max(1, Math.ceil(bytes / roomUnitBytes)) * roomUnitBytes);
