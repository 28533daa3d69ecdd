// The only file that draws randomness. Everything else is handed a Random, so that one seed gives one trace.

export interface Random {
  /** `byteCount` cryptographically random bytes. */
  bytes(byteCount: number): Uint8Array;
  /** A version 4 UUID. */
  uuid(): string;
  /** In [0, 1); for jitter, not for secrets. */
  fraction(): number;
}

export const systemRandom: Random = {
  bytes: (byteCount) => crypto.getRandomValues(new Uint8Array(byteCount)),
  uuid: () => crypto.randomUUID(),
  fraction: () => Math.random(),
};
