// Owns the bytes of the transmission: requests in, replies out. Pure. Replies come as parts, so that payload is never copied.

import { shortText } from './option-codec.ts';
import type { Extent } from './device.ts';
import {
  chunkFlagDone,
  chunkType,
  errorValue,
  extentFlag,
  requestMagic,
  simpleReplyMagic,
  structuredReplyMagic,
  type ErrorName,
} from './wire.ts';

export const requestHeaderBytes = 28;
const chunkHeaderBytes = 20;

/** The client's name for a request, opaque. */
export type Cookie = { high: number; low: number };

export type Request = {
  flags: number;
  type: number;
  cookie: Cookie;
  /** Beyond 2^53 it is not exact, and beyond the end of any device. */
  offset: number;
  length: number;
};

/** undefined: no request begins here. */
export function parseRequest(bytes: Buffer): Request | undefined {
  if (bytes.readUInt32BE() !== requestMagic) return undefined;
  return {
    flags: bytes.readUInt16BE(4),
    type: bytes.readUInt16BE(6),
    cookie: { high: bytes.readUInt32BE(8), low: bytes.readUInt32BE(12) },
    offset: bytes.readUInt32BE(16) * 2 ** 32 + bytes.readUInt32BE(20),
    length: bytes.readUInt32BE(24),
  };
}

export function encodeSimple(cookie: Cookie, error?: ErrorName): Buffer {
  const header = Buffer.allocUnsafe(16);
  header.writeUInt32BE(simpleReplyMagic);
  header.writeUInt32BE(error === undefined ? 0 : errorValue[error], 4);
  writeCookie(header, cookie);
  return header;
}

/** A structured reply without content: success. */
export const encodeNone = (cookie: Cookie): Buffer => encodeChunk(cookie, chunkType.none, 0, 0, true);

export function encodeError(cookie: Cookie, error: ErrorName, message: string): Buffer[] {
  const text = shortText(message);
  const head = encodeChunk(cookie, chunkType.error, 6 + text.length, 6, true);
  head.writeUInt32BE(errorValue[error], chunkHeaderBytes);
  head.writeUInt16BE(text.length, chunkHeaderBytes + 4);
  return [head, text];
}

export function encodeData(cookie: Cookie, offset: number, data: Uint8Array, isLast: boolean): Uint8Array[] {
  const head = encodeChunk(cookie, chunkType.offsetData, 8 + data.length, 8, isLast);
  writeOffset(head, offset);
  return [head, data];
}

export function encodeHole(cookie: Cookie, offset: number, length: number, isLast: boolean): Buffer {
  const chunk = encodeChunk(cookie, chunkType.offsetHole, 12, 12, isLast);
  writeOffset(chunk, offset);
  chunk.writeUInt32BE(length, chunkHeaderBytes + 8);
  return chunk;
}

export function encodeBlockStatus(cookie: Cookie, contextId: number, extents: readonly Extent[]): Buffer {
  const dataBytes = 4 + extents.length * 8;
  const chunk = encodeChunk(cookie, chunkType.blockStatus, dataBytes, dataBytes, true);
  chunk.writeUInt32BE(contextId, chunkHeaderBytes);
  let position = chunkHeaderBytes + 4;
  for (const { length, hole } of extents) {
    chunk.writeUInt32BE(length, position);
    chunk.writeUInt32BE(hole ? extentFlag.hole | extentFlag.zero : 0, position + 4);
    position += 8;
  }
  return chunk;
}

/** The header of a chunk with room for the first `roomBytes` of its payload. */
function encodeChunk(cookie: Cookie, type: number, payloadBytes: number, roomBytes: number, isLast: boolean): Buffer {
  const chunk = Buffer.allocUnsafe(chunkHeaderBytes + roomBytes);
  chunk.writeUInt32BE(structuredReplyMagic);
  chunk.writeUInt16BE(isLast ? chunkFlagDone : 0, 4);
  chunk.writeUInt16BE(type, 6);
  writeCookie(chunk, cookie);
  chunk.writeUInt32BE(payloadBytes, 16);
  return chunk;
}

function writeCookie(bytes: Buffer, cookie: Cookie): void {
  bytes.writeUInt32BE(cookie.high, 8);
  bytes.writeUInt32BE(cookie.low, 12);
}

function writeOffset(chunk: Buffer, offset: number): void {
  chunk.writeUInt32BE(Math.floor(offset / 2 ** 32), chunkHeaderBytes);
  chunk.writeUInt32BE(offset % 2 ** 32, chunkHeaderBytes + 4);
}
