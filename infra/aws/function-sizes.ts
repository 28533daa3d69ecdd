// Owns how much memory and time each function of a site is given, and why. Memory also buys CPU: one virtual CPU at 1,769 MB,
// less in proportion below. Work that computes costs the same at any size below that, and ends sooner at a larger one.

export type FunctionSize = { memoryMb: number; timeoutSeconds: number };

export const functionSizes = {
  /**
   * Waits for the bucket most of the time; walking a delta is the work that computes. Peers wait 30 s for an answer and
   * 120 s for a pack (lib/site/peer-http.ts): nobody is there for a later one.
   */
  http: { memoryMb: 1024, timeoutSeconds: 120 },
  /**
   * Runs 43,200 times a month and is idle in most, so memory is what it costs. It may copy small deltas itself: those are
   * begun within 20 s (`pollInlineMs`) and are of 96 MiB at most (`inlineBytesMax`), 5 minutes at 3 Mbit/s. Ticks may overlap.
   */
  schedule: { memoryMb: 512, timeoutSeconds: 300 },
  /**
   * Hashes, compresses and merges packs on one thread: a whole CPU, and no more, since it could not use a second. In use are
   * about 25 MiB of packs beside 40 for Node; with garbage 450 MiB were resident (`npm run bench`). Ten pieces of 132 MiB, one
   * after another, take 15 minutes at 12 Mbit/s.
   */
  consume: { memoryMb: 1769, timeoutSeconds: 900 },
} as const satisfies Record<string, FunctionSize>;

/** As AWS advises: a queue hides a message for six times as long as its consumer may take, for throttled attempts. */
export const visibilityTimeouts = 6;

/** Batches at once. `wrangler.toml` has the same numbers; two is the least that an event source mapping takes. */
export const consumersMax = 20;
export const deadLetterConsumersMax = 2;
