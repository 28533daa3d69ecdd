// Owns the bytes of the negotiation: options in, replies out. Pure. Lengths are checked before anything is taken by them; text that
// is not UTF-8, or too long, makes an option invalid.

import { textBytesMax } from './limits.ts';
import { handshakeFlag, infoType, initMagic, optionMagic, optionReply, optionReplyMagic } from './wire.ts';

export const clientFlagsBytes = 4;
export const optionHeaderBytes = 16;

export type OptionHeader = { code: number; dataBytes: number };
export type ExportRequest = { name: string; infoTypes: number[] };
export type MetaRequest = { name: string; queries: string[] };

/** What the server says first. */
export function greeting(): Buffer {
  const flags = Buffer.alloc(2);
  flags.writeUInt16BE(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes);
  return Buffer.concat([initMagic, flags]);
}

/** undefined: flags that nobody offered. */
export function parseClientFlags(bytes: Buffer): { noZeroes: boolean } | undefined {
  const flags = bytes.readUInt32BE();
  const known = handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes;
  return (flags & ~known) === 0 ? { noZeroes: (flags & handshakeFlag.noZeroes) !== 0 } : undefined;
}

/** undefined: no option begins here. */
export function parseOptionHeader(bytes: Buffer): OptionHeader | undefined {
  if (!bytes.subarray(0, 8).equals(optionMagic)) return undefined;
  return { code: bytes.readUInt32BE(8), dataBytes: bytes.readUInt32BE(12) };
}

/** Of INFO and GO. undefined: malformed. */
export function parseExportRequest(data: Buffer): ExportRequest | undefined {
  const fields = new Fields(data);
  const name = fields.text();
  const count = fields.uint16();
  if (name === undefined || count === undefined || fields.restBytes !== count * 2) return undefined;
  return { name, infoTypes: Array.from({ length: count }, () => fields.uint16()!) };
}

/** Of LIST_META_CONTEXT and SET_META_CONTEXT. undefined: malformed. */
export function parseMetaRequest(data: Buffer): MetaRequest | undefined {
  const fields = new Fields(data);
  const name = fields.text();
  const count = fields.uint32();
  if (name === undefined || count === undefined || count * 4 > fields.restBytes) return undefined;
  const queries: string[] = [];
  for (let index = 0; index < count; index++) {
    const query = fields.text();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return fields.restBytes === 0 ? { name, queries } : undefined;
}

/** undefined: not a text of the protocol. */
export function parseText(data: Buffer): string | undefined {
  if (data.length > textBytesMax) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}

class Fields {
  #rest: Buffer;

  constructor(data: Buffer) {
    this.#rest = data;
  }

  get restBytes(): number {
    return this.#rest.length;
  }

  uint16(): number | undefined {
    return this.#take(2)?.readUInt16BE();
  }

  uint32(): number | undefined {
    return this.#take(4)?.readUInt32BE();
  }

  text(): string | undefined {
    const bytes = this.#take(this.uint32() ?? Infinity);
    return bytes && parseText(bytes);
  }

  #take(byteCount: number): Buffer | undefined {
    if (byteCount > this.#rest.length) return undefined;
    const taken = this.#rest.subarray(0, byteCount);
    this.#rest = this.#rest.subarray(byteCount);
    return taken;
  }
}

export function encodeReply(code: number, type: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  optionReplyMagic.copy(header);
  header.writeUInt32BE(code, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

/** An error with words for a human. */
export const encodeRefusal = (code: number, type: number, text: string): Buffer =>
  encodeReply(code, type, shortText(text));

export const encodeServer = (code: number, name: string, description = ''): Buffer =>
  encodeReply(
    code,
    optionReply.server,
    Buffer.concat([uint32(Buffer.byteLength(name)), Buffer.from(name), shortText(description)]),
  );

export const encodeMetaContext = (code: number, contextId: number, name: string): Buffer =>
  encodeReply(code, optionReply.metaContext, Buffer.concat([uint32(contextId), Buffer.from(name)]));

export function encodeInfoExport(code: number, sizeBytes: number, flags: number): Buffer {
  const data = Buffer.alloc(12);
  data.writeUInt16BE(infoType.export);
  data.writeBigUInt64BE(BigInt(sizeBytes), 2);
  data.writeUInt16BE(flags, 10);
  return encodeReply(code, optionReply.info, data);
}

export function encodeInfoText(code: number, type: number, text: string): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(type);
  return encodeReply(code, optionReply.info, Buffer.concat([head, shortText(text)]));
}

export type BlockSizes = { minBytes: number; preferredBytes: number; payloadBytesMax: number };

export function encodeInfoBlockSize(code: number, sizes: BlockSizes): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(infoType.blockSize);
  data.writeUInt32BE(sizes.minBytes, 2);
  data.writeUInt32BE(sizes.preferredBytes, 6);
  data.writeUInt32BE(sizes.payloadBytesMax, 10);
  return encodeReply(code, optionReply.info, data);
}

/** The answer to EXPORT_NAME, which has no reply header. */
export function encodeExportName(sizeBytes: number, flags: number, noZeroes: boolean): Buffer {
  const data = Buffer.alloc(noZeroes ? 10 : 134);
  data.writeBigUInt64BE(BigInt(sizeBytes));
  data.writeUInt16BE(flags, 8);
  return data;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** No longer than the protocol allows; a character that is cut is left out. */
export function shortText(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length <= textBytesMax) return bytes;
  let end = textBytesMax;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
