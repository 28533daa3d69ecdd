// What every operation on images is handed.

import type { Bucket } from '../bucket/bucket.ts';
import type { Clock } from '../clock.ts';
import type { Codec } from './bulk-codec.ts';
import type { Random } from '../random.ts';

/** Sizes and limits of the storage engine. Tests turn them down; the format does not depend on them. */
export type Settings = {
  /** Payload at which a pack is closed, bytes. */
  packBytes: number;
  /** Largest block, bytes: a power of two, at most 64 KiB. */
  blockBytes: number;
  /** Decoded map nodes and pack indexes kept in memory, bytes. */
  cacheBytes: number;
  /** Packs uploaded or fetched at once. */
  transfersMax: number;
  /** An object that nothing refers to is collected only when it is older than this. */
  collectGraceMs: number;
};

export const settingsDefault: Settings = {
  packBytes: 8 * 1024 * 1024,
  blockBytes: 64 * 1024,
  cacheBytes: 32 * 1024 * 1024,
  transfersMax: 4,
  collectGraceMs: 24 * 60 * 60 * 1000,
};

export type ImageDeps = {
  bucket: Bucket;
  clock: Clock;
  random: Random;
  settings: Settings;
  /** Where there are threads, the work of hashing and compressing many blocks is theirs. Left out: `inlineCodec`. */
  codec?: Codec;
};

/**
 * `[pool/[namespace/]]image[@snap]`, resolved. The default namespace is the empty string. `byId`: `image` is the image's id, and
 * the image may be in the trash.
 */
export type ImageSpec = {
  pool: string;
  namespace: string;
  image: string;
  snap?: string | undefined;
  byId?: boolean | undefined;
};
