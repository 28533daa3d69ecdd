// Owns the negotiation of one connection: options, until the client has chosen an export. One option at a time: the next is read
// when the reply to the last has left, so a client that does not read costs nothing.

import type { Channel } from './channel.ts';
import type { Device, ExportEntry } from './device.ts';
import { refusalOf } from './error-value.ts';
import { blockBytesMin, listCountMax, type Limits } from './limits.ts';
import * as codec from './option-codec.ts';
import { allocationContextId } from './perform.ts';
import type { Agreed } from './transmission.ts';
import { infoType, option, optionReply, transmissionFlag } from './wire.ts';

export type TlsMode = 'off' | 'allowed' | 'required';

export interface Exports {
  list(): Promise<ExportEntry[]>;
  resolve(name: string): Promise<ExportEntry | undefined>;
  /** The device of an entry, shared by all connections. */
  open(name: string): Promise<Device | undefined>;
}

export type NegotiationOptions = {
  exports: Exports;
  tls: TlsMode;
  limits: Limits;
  report: (error: unknown) => void;
};

const allocation = 'base:allocation';

/** `next`: another option. `over`: the connection is to end. */
type Step = 'next' | 'over' | Agreed;
type Handler = (negotiation: Negotiation, data: Buffer) => Promise<Step>;

/** undefined: the client left, or did not come to an agreement. */
export async function negotiate(channel: Channel, options: NegotiationOptions): Promise<Agreed | undefined> {
  channel.send([codec.greeting()]);
  const bytes = await channel.inbox.exact(codec.clientFlagsBytes);
  const flags = bytes && codec.parseClientFlags(bytes);
  return flags && (await new Negotiation(channel, options, flags.noZeroes).run());
}

class Negotiation {
  #channel: Channel;
  readonly #options: NegotiationOptions;
  readonly #noZeroes: boolean;
  #structured = false;
  /** The export that the metadata context was selected for. */
  #allocationFor: string | undefined;
  /** Of the option that is being answered. */
  #code = 0;

  constructor(channel: Channel, options: NegotiationOptions, noZeroes: boolean) {
    this.#channel = channel;
    this.#options = options;
    this.#noZeroes = noZeroes;
  }

  async run(): Promise<Agreed | undefined> {
    for (let count = 0; count < this.#options.limits.optionCountMax; count++) {
      const step = await this.#takeOption();
      if (step === 'over') return undefined;
      if (step !== 'next') return step;
    }
    return undefined;
  }

  async #takeOption(): Promise<Step> {
    const bytes = await this.#channel.inbox.exact(codec.optionHeaderBytes);
    const header = bytes && codec.parseOptionHeader(bytes);
    if (header === undefined) return 'over';
    this.#code = header.code;
    if (header.dataBytes > this.#options.limits.optionBytesMax) return await this.#skip(header.dataBytes);
    const data = Buffer.allocUnsafe(header.dataBytes);
    return (await this.#channel.inbox.fill(data)) ? await this.#answer(data) : 'over';
  }

  async #skip(dataBytes: number): Promise<Step> {
    const { optionBytesMax, optionSkipBytesMax } = this.#options.limits;
    if (dataBytes > optionSkipBytesMax || this.#code === option.exportName) return 'over';
    if (!(await this.#channel.inbox.skip(dataBytes))) return 'over';
    return await this.#refuse(
      optionReply.tooBig,
      `${dataBytes} bytes in an option: at most ${optionBytesMax} are allowed`,
    );
  }

  async #answer(data: Buffer): Promise<Step> {
    if (this.#lacksTls()) return await this.#refuse(optionReply.tlsRequired, 'this server asks for TLS first');
    const handler = handlers[this.#code];
    if (!handler) return await this.#refuse(optionReply.unsupported, `option ${this.#code} is not known`);
    try {
      return await handler(this, data);
    } catch (error) {
      this.#options.report(error);
      return await this.#refuse(optionReply.unknown, refusalOf(error).text);
    }
  }

  #lacksTls(): boolean {
    const isFree = this.#code === option.startTls || this.#code === option.abort;
    return this.#options.tls === 'required' && !this.#channel.isTls && !isFree;
  }

  async abort(): Promise<Step> {
    await this.#reply([codec.encodeReply(this.#code, optionReply.ack)]);
    return 'over';
  }

  async list(data: Buffer): Promise<Step> {
    if (data.length > 0) return await this.#refuse(optionReply.invalid, 'a list takes no data');
    const entries = await this.#options.exports.list();
    if (entries.length > listCountMax) return await this.#refuse(optionReply.tooBig, `${entries.length} exports`);
    return await this.#accept(entries.map((entry) => codec.encodeServer(this.#code, entry.name, entry.description)));
  }

  /** Bytes that came before the encryption would be taken for encrypted ones, so there must be none. */
  async startTls(data: Buffer): Promise<Step> {
    if (this.#options.tls === 'off') return await this.#refuse(optionReply.policy, 'this server does not do TLS');
    if (data.length > 0 || this.#channel.isTls)
      return await this.#refuse(optionReply.invalid, this.#channel.isTls ? 'TLS is on' : 'this option takes no data');
    if (this.#channel.inbox.bufferedBytes > 0) return 'over';
    const secure = await this.#channel.startTls(codec.encodeReply(this.#code, optionReply.ack));
    if (secure === undefined) return 'over';
    this.#channel = secure;
    this.#structured = false;
    this.#allocationFor = undefined;
    return 'next';
  }

  async structuredReply(data: Buffer): Promise<Step> {
    if (data.length > 0) return await this.#refuse(optionReply.invalid, 'this option takes no data');
    this.#structured = true;
    return await this.#accept([]);
  }

  async exportName(data: Buffer): Promise<Step> {
    const name = codec.parseText(data);
    const found = name === undefined ? undefined : await this.#open(name);
    if (name === undefined || found === undefined) return 'over';
    const { device } = found;
    await this.#reply([codec.encodeExportName(device.sizeBytes, this.#flagsOf(device), this.#noZeroes)]);
    return this.#agreed(name, device);
  }

  async info(data: Buffer): Promise<Step> {
    const request = codec.parseExportRequest(data);
    if (request === undefined) return await this.#refuse(optionReply.invalid, 'malformed request for an export');
    const found = await this.#open(request.name);
    if (found === undefined) return await this.#refuse(optionReply.unknown, `no export is named '${request.name}'`);
    await this.#accept(this.#infos(request.infoTypes, found.entry, found.device));
    return this.#code === option.go ? this.#agreed(request.name, found.device) : 'next';
  }

  async metaContext(data: Buffer): Promise<Step> {
    const selects = this.#code === option.setMetaContext;
    if (selects) this.#allocationFor = undefined;
    const request = codec.parseMetaRequest(data);
    if (request === undefined || (selects && !this.#structured))
      return await this.#refuse(
        optionReply.invalid,
        'metadata contexts are asked for after structured replies, by name',
      );
    if ((await this.#options.exports.resolve(request.name)) === undefined)
      return await this.#refuse(optionReply.unknown, `no export is named '${request.name}'`);
    if (!isAllocationAskedFor(request.queries, selects)) return await this.#accept([]);
    if (selects) this.#allocationFor = request.name;
    return await this.#accept([codec.encodeMetaContext(this.#code, selects ? allocationContextId : 0, allocation)]);
  }

  async #open(name: string): Promise<{ entry: ExportEntry; device: Device } | undefined> {
    const entry = await this.#options.exports.resolve(name);
    const device = entry && (await this.#options.exports.open(entry.name));
    return entry && device && { entry, device };
  }

  #infos(infoTypes: readonly number[], entry: ExportEntry, device: Device): Buffer[] {
    const sizes = {
      minBytes: device.sizeBytes % blockBytesMin === 0 ? blockBytesMin : 1,
      preferredBytes: device.preferredBlockBytes,
      payloadBytesMax: this.#options.limits.requestBytesMax,
    };
    const infos = [codec.encodeInfoExport(this.#code, device.sizeBytes, this.#flagsOf(device))];
    if (infoTypes.includes(infoType.name)) infos.push(codec.encodeInfoText(this.#code, infoType.name, entry.name));
    if (infoTypes.includes(infoType.description) && entry.description !== undefined)
      infos.push(codec.encodeInfoText(this.#code, infoType.description, entry.description));
    if (infoTypes.includes(infoType.blockSize)) infos.push(codec.encodeInfoBlockSize(this.#code, sizes));
    return infos;
  }

  #flagsOf({ readOnly, canMultiConn }: Device): number {
    const flag = transmissionFlag;
    return (
      flag.hasFlags |
      flag.sendFlush |
      flag.sendFua |
      flag.sendTrim |
      flag.sendWriteZeroes |
      flag.sendCache |
      flag.sendFastZero |
      (readOnly ? flag.readOnly : 0) |
      (canMultiConn ? flag.canMultiConn : 0) |
      (this.#structured ? flag.sendDf : 0)
    );
  }

  #agreed(name: string, device: Device): Agreed {
    const isSelected = this.#allocationFor === name;
    return { channel: this.#channel, device, structured: this.#structured, allocation: isSelected };
  }

  async #accept(replies: readonly Buffer[]): Promise<Step> {
    await this.#reply([...replies, codec.encodeReply(this.#code, optionReply.ack)]);
    return 'next';
  }

  /** EXPORT_NAME has no way to say no but to hang up. */
  async #refuse(type: number, text: string): Promise<Step> {
    if (this.#code === option.exportName) return 'over';
    await this.#reply([codec.encodeRefusal(this.#code, type, text)]);
    return 'next';
  }

  async #reply(parts: readonly Uint8Array[]): Promise<void> {
    await new Promise<void>((resolve) => this.#channel.send(parts, resolve));
  }
}

function isAllocationAskedFor(queries: readonly string[], selects: boolean): boolean {
  if (queries.includes(allocation)) return true;
  return !selects && (queries.length === 0 || queries.includes('base:'));
}

const handlers: Record<number, Handler> = {
  [option.exportName]: (negotiation, data) => negotiation.exportName(data),
  [option.abort]: (negotiation) => negotiation.abort(),
  [option.list]: (negotiation, data) => negotiation.list(data),
  [option.startTls]: (negotiation, data) => negotiation.startTls(data),
  [option.info]: (negotiation, data) => negotiation.info(data),
  [option.go]: (negotiation, data) => negotiation.info(data),
  [option.structuredReply]: (negotiation, data) => negotiation.structuredReply(data),
  [option.listMetaContext]: (negotiation, data) => negotiation.metaContext(data),
  [option.setMetaContext]: (negotiation, data) => negotiation.metaContext(data),
};
