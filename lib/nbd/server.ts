// Owns the NBD server: who may connect, what all connections share, and an end that loses nothing. It promises no fairness between
// clients beyond the order in which they ask for room.

import { createServer, type Server, type Socket } from 'node:net';
import { assert, FarsideError } from '../errors.ts';
import { Budget } from './budget.ts';
import type { ExportSource } from './device.ts';
import { limitsDefault, type Limits } from './limits.ts';
import { addressDefault, addressUri, listen, type Address } from './listen.ts';
import { PayloadMemory } from './memory.ts';
import type { TlsMode } from './negotiation.ts';
import { runSession } from './session.ts';
import { SharedExports } from './shared-exports.ts';
import { SocketChannel, type SocketChannelOptions } from './socket-channel.ts';
import type { Shared } from './transmission.ts';

/** PEM. With `ca`, only clients with a certificate that it signed may come. */
export type TlsSettings = { mode: Exclude<TlsMode, 'off'>; key: string; cert: string; ca?: string };

export type NbdServerOptions = {
  exports: ExportSource;
  /** 127.0.0.1:10809 unless given. Port 0 is any that is free. */
  addresses?: readonly Address[];
  tls?: TlsSettings;
  limits?: Partial<Limits>;
  /** A failure that clients are not told in full, for the log. */
  report?(error: unknown): void;
};

export type NbdServerStatus = { connectionCount: number; deviceCount: number; inFlightBytes: number };

type Connection = {
  socket: Socket;
  /** Lets what is in flight come to its end, and nothing more. */
  stop(): void;
};

/** Listens when it resolves. */
export async function startNbdServer(options: NbdServerOptions): Promise<NbdServer> {
  const server = new NbdServer(options);
  await server.start(options.addresses ?? [addressDefault]);
  return server;
}

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #shared: Shared;
  readonly #exports: SharedExports;
  readonly #listeners: Server[] = [];
  readonly #socketOptions: SocketChannelOptions;
  readonly #connections = new Map<Connection, Promise<void>>();
  #stopping: Promise<void> | undefined;
  addresses: readonly Address[] = [];

  constructor(options: NbdServerOptions) {
    const limits = { ...limitsDefault, ...options.limits };
    assert(
      limits.requestBytesMax <= Math.min(limits.connectionBytesMax, limits.serverBytesMax),
      'no room for a request',
    );
    this.#options = options;
    this.#shared = {
      limits,
      bytes: new Budget(limits.serverBytesMax),
      memory: new PayloadMemory(limits.keptBytesMax),
      report: (error) => options.report?.(error),
    };
    this.#socketOptions = { stallMs: limits.stallMs, tls: tlsOptions(options.tls) };
    this.#exports = new SharedExports(options.exports, limits.deviceCountMax);
  }

  get status(): NbdServerStatus {
    return {
      connectionCount: this.#connections.size,
      deviceCount: this.#exports.deviceCount,
      inFlightBytes: this.#shared.bytes.used,
    };
  }

  /** Of the first address. */
  get uri(): string {
    const [first] = this.addresses;
    assert(first !== undefined, 'a server that does not listen has no address');
    return addressUri(first, this.#options.tls?.mode === 'required' ? 'nbds' : 'nbd');
  }

  async start(addresses: readonly Address[]): Promise<void> {
    try {
      const listening: Address[] = [];
      for (const address of addresses) listening.push(await listen(this.#listener(), address));
      this.addresses = listening;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** No new connections; requests that were taken are answered; devices are flushed and closed. Throws what a device fails with then; ETIMEDOUT: one never answers. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { deviceStopMs } = this.#shared.limits;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(this.#hung(deviceStopMs)), deviceStopMs);
    await Promise.race([this.#end(), late.promise]).finally(() => clearTimeout(timer));
  }

  #hung(waitedMs: number): FarsideError {
    const { connectionCount, deviceCount } = this.status;
    return new FarsideError(
      'ETIMEDOUT',
      `${deviceCount} devices, asked over ${connectionCount} connections, did not come to their end within ${waitedMs / 1000} s: what they had not answered may not have been done`,
    );
  }

  async #end(): Promise<void> {
    const closed = this.#listeners.map((listener) => new Promise((resolve) => listener.close(resolve)));
    for (const connection of this.#connections.keys()) connection.stop();
    const cut = setTimeout(() => {
      for (const { socket } of this.#connections.keys()) socket.destroy();
    }, this.#shared.limits.stopMs);
    await Promise.all(this.#connections.values());
    clearTimeout(cut);
    await Promise.all(closed);
    await this.#exports.close();
  }

  #listener(): Server {
    const listener = createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, (socket) =>
      this.#accept(socket),
    );
    this.#listeners.push(listener);
    return listener;
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= this.#shared.limits.connectionCountMax || this.#stopping !== undefined) {
      socket.destroy();
      return;
    }
    const connection: Connection = { socket, stop: () => socket.destroy() };
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const served = this.#serve(connection).then(() => closed);
    this.#connections.set(
      connection,
      served.finally(() => this.#connections.delete(connection)),
    );
  }

  /** Never rejects. */
  async #serve(connection: Connection): Promise<void> {
    const { socket } = connection;
    const handshake = setTimeout(() => socket.destroy(), this.#shared.limits.handshakeMs);
    try {
      await runSession(new SocketChannel(socket, this.#socketOptions), {
        exports: this.#exports,
        tls: this.#options.tls?.mode ?? 'off',
        shared: this.#shared,
        onAgreed: (channel) => {
          clearTimeout(handshake);
          connection.stop = () => channel.inbox.drop();
        },
      });
    } catch (error) {
      this.#shared.report(error);
      socket.destroy();
    } finally {
      clearTimeout(handshake);
    }
  }
}

function tlsOptions(settings: TlsSettings | undefined): SocketChannelOptions['tls'] {
  if (settings === undefined) return undefined;
  const { key, cert, ca } = settings;
  return { key, cert, ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }) };
}
