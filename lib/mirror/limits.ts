// The limits that keep each invocation bounded (I10), and what is handed to whoever keeps documents under them.

import type { ImageDeps } from '../image/deps.ts';
import { optionDefault } from '../image/options.ts';

/** Tests turn these down; none of them is part of a format. */
export type Limits = {
  /** Payload of one piece, bytes. A pack larger than this is a piece of its own. */
  pieceBytesMax: number;
  piecePacksMax: number;
  /** Entry ranges of one piece: keeps an `apply` message below 64 KB. */
  pieceRangesMax: number;
  /** Map nodes visited by one step of a delta. */
  walkNodesMax: number;
  /** Manifests fetched by one `sync` invocation before it sends itself on. */
  manifestsMax: number;
  /** Pieces that one `sync` invocation sends again after a standstill. */
  resendPiecesMax: number;
  /** A delta of one step and at most so many bytes is copied by the `sync` invocation itself, without checkpoints. */
  inlineBytesMax: number;
  /** Segments of a journal that one invocation copies, and fetches at once. */
  segmentsMax: number;
  segmentsConcurrency: number;
  /** Slots behind a replica's root at which they are folded: bounds what reading it, or promoting it, has to go through. */
  replicaTailMax: number;
  /** Packs in memory at once in one invocation: 3 × 8 MiB fetched, and as much being merged. */
  packsConcurrency: number;
  /** A sync whose last checkpoint is older stands still: its missing pieces are sent again. A promotion whose fence is older has died. */
  standstillMs: number;
  /** Delay before `complete` looks again for the markers of pieces that are still being copied. */
  completeDelayMs: number;
  /** Records of one feed page, and pages read by one poll. */
  feedRecordsMax: number;
  feedPagesMax: number;
  /** Records kept behind the newest; a reader further behind finds its way by the full comparison. */
  feedRecordsKept: number;
  /** Pending images looked at by one poll, and of those how many it syncs itself rather than by message. */
  pollPendingMax: number;
  pollInlineMax: number;
  /** No further image is begun by a poll that has synced for so long. */
  pollInlineMs: number;
  /** How often a poll compares the two catalogs in full: the backstop for lost feed records. */
  compareEveryMs: number;
  /** At least so long between two heartbeats to a peer, or two records of them. */
  heartbeatEveryMs: number;
  /** Pool documents and authorisations are believed for so long. */
  cacheMs: number;
  /** A command waits no longer than this for its peers to take a wake-up. */
  wakeWaitMs: number;
  /** Peers of one pool. */
  peersMax: number;
  /** Peers that one pool receives from: as in rbd, and when the operator asks for additional ones. */
  rxPeersMax: number;
  rxPeersAdditionalMax: number;
  /** How long after an import the receiving site first calls: time to think again, as with rbd's daemon, which looks every 30 s. */
  firstContactMs: number;
  /** Bootstrap tokens of one pool that are valid at once; the oldest is forgotten. */
  bootstrapKeysMax: number;
  /**
   * How long both sides keep what they share of an image whose mirroring was given up, so that mirroring it again is no new copy; where
   * `rbd_mirroring_delete_delay` is not overridden.
   */
  replicaKeptMs: number;
  /** Images looked at by one invocation that mirrors those of a pool for their features, or stops it; and by the command that begins it. */
  featureImagesMax: number;
  featureImagesHereMax: number;
  /** Primary mirror snapshots kept per peer, where `rbd_mirroring_max_mirroring_snapshots` is not overridden. */
  mirrorSnapshotsMax: number;
};

const mebibyte = 1024 * 1024;

export const limitsDefault: Limits = {
  // Sixteen packs, which are a little larger than 8 MiB each: a marker for each piece is then 0.06 requests per pack.
  pieceBytesMax: 132 * mebibyte,
  piecePacksMax: 64,
  pieceRangesMax: 3000,
  walkNodesMax: 4096,
  manifestsMax: 8,
  resendPiecesMax: 1000,
  inlineBytesMax: 96 * mebibyte,
  segmentsMax: 256,
  segmentsConcurrency: 4,
  replicaTailMax: 64,
  packsConcurrency: 3,
  standstillMs: 30_000,
  completeDelayMs: 1000,
  feedRecordsMax: 200,
  feedPagesMax: 5,
  feedRecordsKept: 10_000,
  pollPendingMax: 1000,
  pollInlineMax: 32,
  pollInlineMs: 20_000,
  compareEveryMs: 60 * 60 * 1000,
  heartbeatEveryMs: 25_000,
  cacheMs: 10_000,
  wakeWaitMs: 2000,
  peersMax: 64,
  rxPeersMax: 1,
  rxPeersAdditionalMax: 8,
  firstContactMs: 3000,
  bootstrapKeysMax: 16,
  featureImagesMax: 100,
  featureImagesHereMax: 20,
  replicaKeptMs: 24 * 60 * 60 * 1000,
  mirrorSnapshotsMax: optionDefault('rbd_mirroring_max_mirroring_snapshots'),
};

/** For what only reads and writes documents. */
export type DocumentDeps = Pick<ImageDeps, 'bucket' | 'clock' | 'random'> & { limits: Limits };
