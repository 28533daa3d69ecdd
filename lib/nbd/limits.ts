// Owns the limits of the NBD server: what one message, one connection and all of them together may cost. What clients are told of
// them is in docs/nbd.md.

export type Limits = {
  /** Payload of one read or write; advertised. The protocol's default, which every client knows. */
  requestBytesMax: number;
  /** A larger write is skipped and refused up to here; beyond it the connection ends. */
  skipBytesMax: number;
  /** Data of one option; a larger one is skipped and refused, up to `optionSkipBytesMax`. */
  optionBytesMax: number;
  optionSkipBytesMax: number;
  /** Options before the transmission. Clients that list exports send a few for each. */
  optionCountMax: number;
  /** Payload received and not yet accepted, or read and not yet sent. */
  connectionBytesMax: number;
  serverBytesMax: number;
  /** Memory kept for payload, while less is in flight. */
  keptBytesMax: number;
  /** Requests of one connection whose replies are not sent. */
  requestCountMax: number;
  connectionCountMax: number;
  /** Devices that are open at once. */
  deviceCountMax: number;
  /** From the connection to the end of the negotiation. */
  handshakeMs: number;
  /** Without progress in the middle of a request or of its reply. An idle client may stay. */
  stallMs: number;
  /** How long a stop waits for requests in flight before connections are cut. */
  stopMs: number;
  /** How long it waits for devices that have not answered or do not close, and then gives them up. Longer than their own patience. */
  deviceStopMs: number;
};

const MiB = 1024 * 1024;

export const limitsDefault: Limits = {
  requestBytesMax: 32 * MiB,
  skipBytesMax: 64 * MiB,
  optionBytesMax: 64 * 1024,
  optionSkipBytesMax: MiB,
  optionCountMax: 4096,
  connectionBytesMax: 32 * MiB,
  serverBytesMax: 48 * MiB,
  keptBytesMax: 16 * MiB,
  requestCountMax: 256,
  connectionCountMax: 128,
  deviceCountMax: 256,
  handshakeMs: 30_000,
  stallMs: 120_000,
  stopMs: 30_000,
  deviceStopMs: 180_000,
};

/** Of a string, by the protocol. */
export const textBytesMax = 4096;
/** Advertised where the size is a multiple of it, else 1. */
export const blockBytesMin = 512;
/** Extents of one reply. */
export const extentCountMax = 8192;
/** Names in one list. */
export const listCountMax = 10_000;
/** What one cache request reads at a time, and in all. */
export const cachePieceBytes = MiB;
export const cacheBytesMax = 32 * MiB;
