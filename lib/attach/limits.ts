// Owns the bounds of an attached image: memory, waits, and how much a crash has to replay.

const mebibyte = 1024 * 1024;

export type AttachLimits = {
  /** A segment is sealed at so many bytes of data, flush or no flush. */
  segmentBytesMax: number;
  /** What was written and not flushed is sealed after so long: how much a crash may lose that nobody asked to keep. */
  segmentAgeMs: number;
  /** Memory for what is written and not yet in the bucket, bytes, beyond which writers wait. */
  pendingBytesMax: number;
  /** A flush that the bucket does not let through fails after so long; what it was to keep is kept, and tried on. */
  flushPatienceMs: number;
  /** Of an image that is being given back: what is not in the bucket is given up when the bucket has taken nothing for so long. */
  endPatienceMs: number;
  /** So long a bucket that refuses what was written is tried on: credentials that expired are renewed. Then the image fails with EIO. */
  refusalPatienceMs: number;
  /** Segments, the changes in them, and their age, at which they are folded into the map: bounds what opening has to replay. */
  foldSegmentsMax: number;
  foldChangesMax: number;
  foldAgeMs: number;
  /** Blocks kept in memory, and read ahead of a reader that goes on where it stopped. */
  cacheBytes: number;
  readAheadBytes: number;
  /** How often the header is looked at: for a larger size, and for who took the image away. */
  headerEveryMs: number;
  /** An image that was quiesced holds still for so long, then goes on whether or not a snapshot was taken. */
  quiesceHoldMs: number;
};

export const attachLimitsDefault: AttachLimits = {
  segmentBytesMax: 8 * mebibyte,
  segmentAgeMs: 2000,
  pendingBytesMax: 32 * mebibyte,
  flushPatienceMs: 120_000,
  endPatienceMs: 60_000,
  refusalPatienceMs: 15 * 60 * 1000,
  foldSegmentsMax: 128,
  foldChangesMax: 65_536,
  foldAgeMs: 60_000,
  cacheBytes: 64 * mebibyte,
  readAheadBytes: 4 * mebibyte,
  headerEveryMs: 5000,
  quiesceHoldMs: 30_000,
};
