// Owns every draw of a simulation: one seed, one sequence. Streams are forked by name, so that a change in how often one part
// draws does not change what another part sees.

import type { Random } from '../../lib/random.ts';

/** sfc32: fast, and good enough for choosing. */
export class Dice {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream = '') {
    let hash = 0x811c9dc5 ^ seed;
    for (const char of `${seed}/${stream}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
    this.#a = hash | 0;
    this.#b = seed | 0;
    this.#c = Math.imul(hash, 0x9e3779b1) | 0;
    for (let count = 0; count < 12; count++) this.#next();
  }

  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** In [0, 1). */
  fraction(): number {
    return this.#next() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  /** From `low` to `high`, most values near `low`. */
  skewed(low: number, high: number): number {
    return Math.round(low + (high - low) * this.fraction() ** 4);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.fraction() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** One of the keys, each as often as its weight says. */
  weighted<Name extends string>(weights: Readonly<Partial<Record<Name, number>>>): Name {
    const entries = Object.entries(weights) as [Name, number][];
    let left = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return entries.at(-1)![0];
  }

  bytes(byteCount: number): Buffer {
    const bytes = Buffer.allocUnsafe((byteCount + 3) & ~3);
    for (let at = 0; at < byteCount; at += 4) bytes.writeUInt32LE(this.#next(), at);
    return bytes.subarray(0, byteCount);
  }

  uuid(): string {
    const hex = this.bytes(16).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  /** As lib's sites draw. */
  asRandom(): Random {
    return {
      bytes: (byteCount) => new Uint8Array(this.bytes(byteCount)),
      uuid: () => this.uuid(),
      fraction: () => this.fraction(),
    };
  }
}
