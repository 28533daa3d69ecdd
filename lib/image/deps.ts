// What every operation on images is handed.

import type { Bucket } from '../bucket/bucket.ts';
import type { Clock } from '../clock.ts';
import type { Codec } from './packs/bulk-codec.ts';
import type { Random } from '../random.ts';
import type { Header } from './header.ts';

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

/**
 * How changes of an image that is mirrored by its journal come to their place in the order: each is a point that the replicas
 * copy (lib/mirror/primary/points.ts). Handed in, since lib/image knows nothing of pools and peers.
 */
export interface JournalPoints {
  /** `after` with a new point, if it differs from `before` in something that a point holds; else `after` itself. */
  withPoint(before: Header, after: Header): Promise<Header>;
  /** Tells the peers of the newest point of a header just written. Never throws. */
  announce(header: Header): Promise<void>;
  /** For who may not write a replica: has its site fold what it copied of the journal. */
  foldReplica?(header: Header): Promise<void>;
}

export type ImageDeps = {
  bucket: Bucket;
  clock: Clock;
  random: Random;
  settings: Settings;
  /** Where there are threads, the work of hashing and compressing many blocks is theirs. Left out: `inlineCodec`. */
  codec?: Codec;
  /** Needed by whoever changes headers of images that may be mirrored by their journal. */
  points?: JournalPoints;
  /** Told of every image that users make: a pool may mirror it for its features. Never throws. */
  born?(header: Header): Promise<void>;
  /** Told of an image in the trash that went with the last of its clones: its objects go next. Never throws; the daily round finds it too. */
  spent?(imageId: string): Promise<void>;
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

/** Has the objects of removed images deleted later, step by step (`removeStep`): the queue of a site is one. */
export interface RemovalQueue {
  send(messages: readonly { type: 'remove'; imageId: string }[]): Promise<void>;
}
