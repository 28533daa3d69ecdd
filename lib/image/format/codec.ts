// Owns how one entry's bytes are encoded and verified: raw or zstd, whichever a quick probe of the data favours.

import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { FarsideError } from '../../errors.ts';
import { crc32, hash128 } from './digest.ts';
import { encoding, type Entry, type EntryKind, type NewEntry } from './pack.ts';

export type Compression = 'auto' | 'none';

/** The window need not exceed the largest block; a smaller one makes for smaller tables. */
const zstdOptions = { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_windowLog]: 16 } };

/**
 * Two faults of workerd's synchronous zstd (measured with 1.20261023.1, test/platform/codec.test.ts): it refuses output that
 * comes within one of its buffers of `maxOutputLength`, and it reports some whole frames as cut off unless told to flush. The
 * length and the hash of what comes out are checked anyway.
 */
const zstdDecodeOptions = (rawBytes: number) => ({
  maxOutputLength: rawBytes + 64 * 1024,
  finishFlush: constants.ZSTD_e_flush,
  // One buffer takes it all: half as much work again as with the default of 16 KiB.
  chunkSize: rawBytes + 64,
});

/** Bytes looked at by the probe. */
const probeSamples = 1024;
/** Blocks smaller than this are left alone: little to win. */
const compressBytesMin = 4096;
/** Compressed blocks must save at least an eighth, or reading them would cost more than they save. */
const savingMin = 1 / 8;
/** Squared byte counts of uniformly random samples add up to about n + n²/256; text and tables to several times that. */
const unevennessMin = 1.25;

/** Guesses from the evenness of sampled byte values whether zstd will pay. Costs a few microseconds per block. */
export function looksCompressible(data: Uint8Array): boolean {
  if (data.length < compressBytesMin) return false;
  const counts = new Uint32Array(256);
  const step = Math.max(1, Math.floor(data.length / probeSamples)) | 1;
  let samples = 0;
  for (let i = 0; i < data.length; i += step) {
    counts[data[i]!]!++;
    samples++;
  }
  let squares = 0;
  for (let i = 0; i < 256; i++) squares += counts[i]! * counts[i]!;
  return squares > (samples + (samples * samples) / 256) * unevennessMin;
}

/** Encodes one entry. The result may share memory with `raw`, which must not change until the pack is made. */
export function encodeEntry(kind: EntryKind, imageOffset: number, raw: Uint8Array, compression: Compression): NewEntry {
  const packed = compression === 'auto' && looksCompressible(raw) ? zstdCompressSync(raw, zstdOptions) : undefined;
  return smaller({ kind, imageOffset, hash: hash128(raw) }, raw, packed);
}

function smaller(
  identity: Pick<Entry, 'kind' | 'imageOffset' | 'hash'>,
  raw: Uint8Array,
  packed: Uint8Array | undefined,
): NewEntry {
  const pays = packed !== undefined && packed.length <= raw.length * (1 - savingMin);
  const encoded = pays ? packed : raw;
  const entry: Entry = {
    ...identity,
    encoding: pays ? encoding.zstd : encoding.raw,
    rawBytes: raw.length,
    encodedBytes: encoded.length,
    crc: crc32(encoded),
  };
  return { entry, encoded };
}

/**
 * Decodes and verifies one entry: CRC of the encoded bytes, length, and hash of the raw bytes.
 * Throws EBADMSG saying which of them is wrong; the caller adds image, offset and pack.
 */
export function decodeEntry(entry: Entry, encoded: Uint8Array): Uint8Array {
  if (encoded.length !== entry.encodedBytes) throw new FarsideError('EBADMSG', 'its bytes are cut off');
  if (crc32(encoded) !== entry.crc) throw new FarsideError('EBADMSG', 'its bytes do not match their CRC');
  const raw = decode(entry, encoded);
  if (raw.length !== entry.rawBytes)
    throw new FarsideError('EBADMSG', `it decodes to ${raw.length} bytes, not ${entry.rawBytes}`);
  if (!hash128(raw).equals(entry.hash)) throw new FarsideError('EBADMSG', 'its content does not match its hash');
  return raw;
}

function decode(entry: Entry, encoded: Uint8Array): Uint8Array {
  switch (entry.encoding) {
    case encoding.raw:
      return encoded;
    case encoding.zero:
      return new Uint8Array(entry.rawBytes);
    case encoding.zstd:
      try {
        return zstdDecompressSync(encoded, zstdDecodeOptions(entry.rawBytes));
      } catch (cause) {
        throw new FarsideError('EBADMSG', 'its bytes do not decompress', { cause });
      }
  }
}
