// Owns the stored packs that one collection run judges: which of their entries are alive, and what is to become of them. Pure
// but for reading the index of packs that may be worth rewriting. A stored pack is named by the rest of its key: the pack's id,
// or of a journal segment its slot, as `epoch/seq`; a pack may be stored in both ways.

import { z } from 'zod';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { parseEpochId, parsePackId } from '../ids.ts';
import type { Condemned } from './condemned.ts';
import { entryRanges } from '../packs/pack-copy.ts';
import type { Slot } from '../format/node.ts';
import type { PackIndex } from '../format/pack.ts';
import type { Pack, PackStore } from '../packs/pack-store.ts';

/** A pack is rewritten when at least half of what it stores is dead, and at least this many bytes. */
const deadShareMin = 0.5;
const deadBytesMin = 64 * 1024;

/** Name, stored bytes, and, when something in it is alive: entry count, bytes when complete, bitmap of live entries (base64). */
const candidateSchema = z.tuple([
  z.string(),
  z.int(),
  z.tuple([z.int(), z.int(), z.string(), z.string().optional()]).nullable(),
]);
export const candidatesSchema = z.array(candidateSchema);
type Encoded = z.infer<typeof candidatesSchema>;

type Alive = { pack: Pack; bits: Uint8Array };
type Candidate = { storedBytes: number; alive?: Alive };

export class Candidates {
  readonly #packs = new Map<string, Candidate>();

  get size(): number {
    return this.#packs.size;
  }

  add(name: string, storedBytes: number): void {
    this.#packs.set(name, { storedBytes });
  }

  mark(pack: Pack, entryIndex: number): void {
    this.#mark(pack.packId, pack, entryIndex);
    if (pack.slot) this.#mark(slotName(pack.slot), pack, entryIndex);
  }

  #mark(name: string, pack: Pack, entryIndex: number): void {
    const candidate = this.#packs.get(name);
    // A slot is taken once; in a bucket that was tampered with, what lies there may be another pack.
    if (!candidate || (candidate.alive && candidate.alive.pack.packId !== pack.packId)) return;
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
  async condemned(store: PackStore, imageId: string, shrinksMax: number): Promise<Condemned> {
    const packs: string[] = [];
    const sparse: { name: string; alive: Alive; deadBytes: number }[] = [];
    for (const [name, { storedBytes, alive }] of this.#packs) {
      const deadBytes = alive ? guessDeadBytes(storedBytes, alive) : 0;
      if (!alive) packs.push(name);
      else if (deadBytes >= deadBytesMin && deadBytes >= storedBytes * deadShareMin)
        sparse.push({ name, alive, deadBytes });
    }
    const shrinks: Condemned['shrinks'] = [];
    for (const { name, alive } of sparse.toSorted((a, b) => b.deadBytes - a.deadBytes).slice(0, shrinksMax)) {
      const index = await store.copyIndex(alive.pack, storedKey(imageId, name));
      if (index && isWorthwhile(index, alive)) shrinks.push(shrinkOf(name, alive));
    }
    return { packs, shrinks };
  }

  encode(): Encoded {
    return [...this.#packs].map(([name, { storedBytes, alive }]) => [
      name,
      storedBytes,
      alive ? encodeAlive(alive) : null,
    ]);
  }

  static decode(encoded: Encoded): Candidates {
    const candidates = new Candidates();
    for (const [name, storedBytes, alive] of encoded)
      candidates.#packs.set(name, { storedBytes, ...(alive && { alive: decodeAlive(name, alive) }) });
    return candidates;
  }
}

/** The packs's id stands there where it is not the name. */
function encodeAlive({ pack, bits }: Alive): NonNullable<Encoded[number][2]> {
  const { packId, entryCount, packBytes, slot } = pack;
  const encoded = Buffer.from(bits).toString('base64');
  return slot ? [entryCount, packBytes, encoded, packId] : [entryCount, packBytes, encoded];
}

function decodeAlive(name: string, [entryCount, packBytes, bits, packId]: NonNullable<Encoded[number][2]>): Alive {
  const slot = parseSlotName(name);
  const pack = { packId: parsePackId(packId ?? name), entryCount, packBytes, ...(slot && { slot }) };
  return { pack, bits: new Uint8Array(Buffer.from(bits, 'base64')) };
}

/** Names a segment among the candidates of a collection. */
export const slotName = ({ epoch, seq }: Slot): string => `${epoch}/${seq}`;

/** Undefined: it is the name of a pack. */
function parseSlotName(name: string): Slot | undefined {
  const [epoch, seq] = name.split('/');
  return epoch === undefined || seq === undefined ? undefined : { epoch: parseEpochId(epoch), seq: Number(seq) };
}

/** Where a stored pack lies that a collection names so. */
export function storedKey(imageId: string, name: string): string {
  const slot = parseSlotName(name);
  return keyText(slot ? { kind: 'slot', imageId, ...slot } : { kind: 'pack', imageId, packId: name });
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

function shrinkOf(name: string, alive: Alive): Condemned['shrinks'][number] {
  const keep = entryRanges(liveEntries(alive), alive.pack.entryCount);
  const all: [number, number] = [0, alive.pack.entryCount - 1];
  return {
    pack: name,
    ...(name === alive.pack.packId ? {} : { packId: alive.pack.packId }),
    keep: keep === 'all' ? [all] : keep.map(([first, last]) => [first, last]),
  };
}
