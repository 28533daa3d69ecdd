// Owns Channel on a socket of Node. What is sent within one turn of the event loop leaves in one system call: replies to requests
// that came together go together, which wakes the client once.

import type { Socket } from 'node:net';
import { createServer, type TlsOptions as NodeTlsOptions } from 'node:tls';
import type { Channel } from './channel.ts';
import { Inbox } from './inbox.ts';

/** How long the client may take to hang up after we did. */
const lingerMs = 2000;

export type SocketChannelOptions = { stallMs: number; tls: NodeTlsOptions | undefined };

export class SocketChannel implements Channel {
  readonly inbox: Inbox;
  readonly isTls: boolean;
  readonly #socket: Socket;
  readonly #options: SocketChannelOptions;
  #isCorked = false;

  constructor(socket: Socket, options: SocketChannelOptions, isTls = false) {
    this.#socket = socket;
    this.#options = options;
    this.isTls = isTls;
    this.inbox = new Inbox({ pause: () => socket.pause(), resume: () => socket.resume() });
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('timeout', this.#onTimeout);
    // What went wrong is of no interest: 'close' follows.
    socket.on('error', () => {});
    socket.setTimeout(options.stallMs);
  }

  send(parts: readonly Uint8Array[], sent?: () => void): void {
    this.#cork();
    const last = parts.length - 1;
    for (const [index, part] of parts.entries()) this.#socket.write(part, index === last ? () => sent?.() : undefined);
  }

  async startTls(accepted: Uint8Array): Promise<Channel | undefined> {
    const socket = this.#socket;
    socket.pause();
    socket
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('close', this.#onClose)
      .off('timeout', this.#onTimeout);
    socket.setTimeout(0);
    await new Promise<void>((resolve) => this.send([accepted], resolve));
    // Not a bare TLSSocket: only a server checks the certificates of clients.
    const server = createServer({ ...this.#options.tls, handshakeTimeout: this.#options.stallMs });
    // A client that leaves in the midst of the handshake has left; later, replies to what it sent may follow.
    socket.allowHalfOpen = false;
    return await new Promise((resolve) => {
      server.once('secureConnection', (secure) => {
        secure.allowHalfOpen = true;
        resolve(new SocketChannel(secure, this.#options, true));
      });
      server.once('tlsClientError', () => resolve(undefined));
      socket.once('close', () => resolve(undefined));
      server.emit('connection', socket);
    });
  }

  end(): void {
    const socket = this.#socket;
    this.inbox.drop();
    socket.end();
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), lingerMs);
    socket.once('close', () => clearTimeout(timer));
    if (socket.destroyed) clearTimeout(timer);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => this.inbox.push(chunk);
  readonly #onEnd = (): void => this.inbox.end();
  readonly #onClose = (): void => this.inbox.drop();

  readonly #onTimeout = (): void => {
    if (this.inbox.isMidway || this.#socket.writableLength > 0) this.#socket.destroy();
  };

  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#socket.cork();
    setImmediate(() => {
      this.#isCorked = false;
      this.#socket.uncork();
    });
  }
}
