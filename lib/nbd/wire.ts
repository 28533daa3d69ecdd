// Owns the numbers of the NBD protocol, as the protocol's document names them (doc/proto.md of NetworkBlockDevice/nbd).

export const initMagic = Buffer.from('NBDMAGICIHAVEOPT', 'latin1');
export const optionMagic = Buffer.from('IHAVEOPT', 'latin1');
export const optionReplyMagic = Buffer.from('0003e889045565a9', 'hex');
export const requestMagic = 0x25609513;
export const simpleReplyMagic = 0x67446698;
export const structuredReplyMagic = 0x668e33ef;

export const handshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const transmissionFlag = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  sendDf: 1 << 7,
  canMultiConn: 1 << 8,
  sendCache: 1 << 10,
  sendFastZero: 1 << 11,
} as const;

export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const optionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 2 ** 31 + 1,
  policy: 2 ** 31 + 2,
  invalid: 2 ** 31 + 3,
  tlsRequired: 2 ** 31 + 5,
  unknown: 2 ** 31 + 6,
  shutdown: 2 ** 31 + 7,
  tooBig: 2 ** 31 + 9,
} as const;

export const infoType = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const commandFlag = { fua: 1 << 0, noHole: 1 << 1, df: 1 << 2, reqOne: 1 << 3, fastZero: 1 << 4 } as const;

export const chunkFlagDone = 1;
export const chunkType = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5, error: 2 ** 15 + 1 } as const;

/** Flags of an extent in `base:allocation`. */
export const extentFlag = { hole: 1, zero: 2 } as const;

export const errorValue = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

export type ErrorName = keyof typeof errorValue;
