// Owns the packs that one collection run judges: which of their entries are alive, and what is to become of them. Pure but
// for reading the index of packs that may be worth rewriting.

import { z } from 'zod';
import { FarsideError } from '../errors.ts';
import { parsePackId } from './ids.ts';
import type { Condemned } from './commit.ts';
import { entryRanges } from './pack-copy.ts';
import type { PackIndex } from './pack.ts';
import type { Pack, PackStore } from './pack-store.ts';

/** A pack is rewritten when at least half of what it stores is dead, and at least this many bytes. */
const deadShareMin = 0.5;
const deadBytesMin = 64 * 1024;

/** Pack id, stored bytes, and, when something in it is alive: entry count, bytes when complete, bitmap of live entries (base64). */
const candidateSchema = z.tuple([z.string(), z.int(), z.tuple([z.int(), z.int(), z.string()]).nullable()]);
export const candidatesSchema = z.array(candidateSchema);
type Encoded = z.infer<typeof candidatesSchema>;

type Alive = { pack: Pack; bits: Uint8Array };
type Candidate = { storedBytes: number; alive?: Alive };

export class Candidates {
  readonly #packs = new Map<string, Candidate>();

  get size(): number {
    return this.#packs.size;
  }

  add(packId: string, storedBytes: number): void {
    this.#packs.set(packId, { storedBytes });
  }

  mark(pack: Pack, entryIndex: number): void {
    const candidate = this.#packs.get(pack.packId);
    if (!candidate) return;
    candidate.alive ??= { pack, bits: new Uint8Array(Math.ceil(pack.entryCount / 8)) };
    if (pack.entryCount !== candidate.alive.pack.entryCount) {
      throw new FarsideError(
        'EBADMSG',
        `map nodes disagree on how many entries pack ${pack.packId} has, so nothing is collected`,
      );
    }
    candidate.alive.bits[entryIndex >> 3]! |= 1 << (entryIndex & 7);
  }

  /** Packs with nothing alive, and the most rewarding `shrinksMax` of those that are mostly dead. */
  async condemned(store: PackStore, shrinksMax: number): Promise<Condemned> {
    const packs: string[] = [];
    const sparse: { alive: Alive; deadBytes: number }[] = [];
    for (const [packId, { storedBytes, alive }] of this.#packs) {
      const deadBytes = alive ? guessDeadBytes(storedBytes, alive) : 0;
      if (!alive) packs.push(packId);
      else if (deadBytes >= deadBytesMin && deadBytes >= storedBytes * deadShareMin) sparse.push({ alive, deadBytes });
    }
    const shrinks: Condemned['shrinks'] = [];
    for (const { alive } of sparse.toSorted((a, b) => b.deadBytes - a.deadBytes).slice(0, shrinksMax)) {
      const index = await store.ownIndex(alive.pack);
      if (index && isWorthwhile(index, alive)) shrinks.push(shrinkOf(alive));
    }
    return { packs, shrinks };
  }

  encode(): Encoded {
    return [...this.#packs].map(([packId, { storedBytes, alive }]) => [
      packId,
      storedBytes,
      alive ? [alive.pack.entryCount, alive.pack.packBytes, Buffer.from(alive.bits).toString('base64')] : null,
    ]);
  }

  static decode(encoded: Encoded): Candidates {
    const candidates = new Candidates();
    for (const [packId, storedBytes, alive] of encoded) {
      const candidate: Candidate = { storedBytes };
      if (alive) {
        const pack = { packId: parsePackId(packId), entryCount: alive[0], packBytes: alive[1] };
        candidate.alive = { pack, bits: new Uint8Array(Buffer.from(alive[2], 'base64')) };
      }
      candidates.#packs.set(packId, candidate);
    }
    return candidates;
  }
}

const isAlive = ({ bits }: Alive, entryIndex: number): boolean =>
  ((bits[entryIndex >> 3]! >> (entryIndex & 7)) & 1) === 1;

function liveEntries(alive: Alive): number[] {
  return Array.from({ length: alive.pack.entryCount }, (_, i) => i).filter((i) => isAlive(alive, i));
}

/** As if all entries were of one size; the index tells later. */
function guessDeadBytes(storedBytes: number, alive: Alive): number {
  return storedBytes - (alive.pack.packBytes * liveEntries(alive).length) / alive.pack.entryCount;
}

function isWorthwhile(index: PackIndex, alive: Alive): boolean {
  let deadBytes = 0;
  for (let i = 0; i < index.entryCount; i++)
    if (index.isPresent(i) && !isAlive(alive, i)) deadBytes += index.entry(i).encodedBytes;
  return deadBytes >= deadBytesMin && deadBytes >= index.storedBytes * deadShareMin;
}

function shrinkOf(alive: Alive): Condemned['shrinks'][number] {
  const keep = entryRanges(liveEntries(alive), alive.pack.entryCount);
  const all: [number, number] = [0, alive.pack.entryCount - 1];
  return { pack: alive.pack.packId, keep: keep === 'all' ? [all] : keep.map(([first, last]) => [first, last]) };
}
