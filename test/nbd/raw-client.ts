// An NBD client by hand, on a bare socket, that can say what no well-behaved client says. It waits for what it is asked to, and
// fails when the server hangs up instead.

import { connect, type Socket } from 'node:net';
import { Inbox } from '../../lib/nbd/inbox.ts';
import type { Address } from '../../lib/nbd/listen.ts';

export type OptionReply = { option: number; type: number; data: Buffer };
export type Chunk = { flags: number; type: number; cookie: number; data: Buffer };
export type RequestFields = {
  flags?: number;
  offset?: number | bigint;
  length?: number;
  data?: Uint8Array;
  cookie?: number;
};

export const repError = { unsupported: 1, policy: 2, invalid: 3, tlsRequired: 5, unknown: 6, tooBig: 9 };

export class RawClient {
  readonly socket: Socket;
  readonly inbox: Inbox;
  readonly closed: Promise<void>;

  constructor(socket: Socket) {
    this.socket = socket;
    this.inbox = new Inbox({ pause: () => socket.pause(), resume: () => socket.resume() });
    socket.on('data', (chunk: Buffer) => this.inbox.push(chunk));
    socket.on('end', () => this.inbox.end());
    socket.on('error', () => {});
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        this.inbox.end();
        resolve();
      }),
    );
  }

  /** Reads the greeting too, and answers it. `flags` undefined: does not answer. */
  static async connect(address: Address, flags: number | undefined = 3): Promise<RawClient> {
    const client = new RawClient('path' in address ? connect(address.path) : connect(address.port, address.host));
    const greeting = await client.receive(18);
    if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('not an NBD server');
    client.send(uint32(flags));
    return client;
  }

  send(...parts: Uint8Array[]): void {
    for (const part of parts) this.socket.write(part);
  }

  async receive(byteCount: number): Promise<Buffer> {
    const bytes = await this.inbox.exact(byteCount);
    if (bytes === undefined) throw new Error('the server hung up');
    return bytes;
  }

  /** Whether the server hung up without another byte. */
  async isHungUp(): Promise<boolean> {
    return (await this.inbox.exact(1)) === undefined;
  }

  sendOption(code: number, data: Uint8Array = new Uint8Array()): void {
    this.send(Buffer.from('IHAVEOPT'), uint32(code), uint32(data.length), data);
  }

  async optionReply(): Promise<OptionReply> {
    const head = await this.receive(20);
    if (head.toString('hex', 0, 8) !== '0003e889045565a9') throw new Error('not a reply to an option');
    const data = await this.receive(head.readUInt32BE(16));
    return { option: head.readUInt32BE(8), type: head.readUInt32BE(12), data };
  }

  /** All replies of one option, to the acknowledgement or the error. */
  async option(code: number, data?: Uint8Array): Promise<OptionReply[]> {
    this.sendOption(code, data);
    const replies: OptionReply[] = [];
    do replies.push(await this.optionReply());
    while (replies.at(-1)!.type !== 1 && replies.at(-1)!.type < 2 ** 31);
    return replies;
  }

  /** The number of the error that an option is refused with; 0: it was accepted. */
  async optionError(code: number, data?: Uint8Array): Promise<number> {
    const last = (await this.option(code, data)).at(-1)!;
    return last.type === 1 ? 0 : last.type - 2 ** 31;
  }

  async go(
    name = '',
    options: { structured?: boolean; allocation?: boolean } = {},
  ): Promise<{ sizeBytes: number; flags: number }> {
    if (options.structured) await this.option(8);
    if (options.allocation) await this.option(10, metaRequest(name, ['base:allocation']));
    const info = (await this.option(7, exportRequest(name)))[0]!.data;
    return { sizeBytes: Number(info.readBigUInt64BE(2)), flags: info.readUInt16BE(10) };
  }

  request(type: number, fields: RequestFields = {}): void {
    const { flags = 0, offset = 0, data = new Uint8Array(), length = data.length, cookie = 7 } = fields;
    this.send(requestHeader(type, { flags, offset, length, cookie }), data);
  }

  /** Answers the error. */
  async simpleReply(cookie = 7): Promise<number> {
    const head = await this.receive(16);
    if (head.readUInt32BE() !== 0x67446698) throw new Error(`not a simple reply: ${head.toString('hex')}`);
    if (head.readBigUInt64BE(8) !== BigInt(cookie)) throw new Error(`a reply to ${head.readBigUInt64BE(8)}`);
    return head.readUInt32BE(4);
  }

  async chunk(): Promise<Chunk> {
    const head = await this.receive(20);
    if (head.readUInt32BE() !== 0x668e33ef) throw new Error(`not a chunk: ${head.toString('hex')}`);
    const data = await this.receive(head.readUInt32BE(16));
    return { flags: head.readUInt16BE(4), type: head.readUInt16BE(6), cookie: Number(head.readBigUInt64BE(8)), data };
  }

  /** Sends a request and answers the error of its simple reply. */
  async ask(type: number, fields: RequestFields = {}): Promise<number> {
    this.request(type, fields);
    return await this.simpleReply(fields.cookie);
  }

  async disconnect(): Promise<void> {
    this.request(2);
    this.socket.end();
    await this.closed;
  }
}

export function requestHeader(type: number, fields: Required<Omit<RequestFields, 'data'>>): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(0x25609513);
  header.writeUInt16BE(fields.flags, 4);
  header.writeUInt16BE(type, 6);
  header.writeBigUInt64BE(BigInt(fields.cookie), 8);
  header.writeBigUInt64BE(BigInt(fields.offset), 16);
  header.writeUInt32BE(fields.length, 24);
  return header;
}

export function exportRequest(name: string, infoTypes: readonly number[] = []): Buffer {
  const types = infoTypes.map((type) => Buffer.from([type >> 8, type & 255]));
  return Buffer.concat([text(name), Buffer.from([0, types.length]), ...types]);
}

export const metaRequest = (name: string, queries: readonly string[]): Buffer =>
  Buffer.concat([text(name), uint32(queries.length), ...queries.map(text)]);

export const text = (content: string): Buffer =>
  Buffer.concat([uint32(Buffer.byteLength(content)), Buffer.from(content)]);

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
