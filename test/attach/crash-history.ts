// Owns what a disk of a crash test has been through: round after round one writer each, of which a prefix of its requests stayed.
// Knows so what may be found after a crash, and at every moment at a replica.

import type { ImageTask } from './crash-image.ts';
import { apply, decode, reachedBy, requestOf, type Request } from './pattern.ts';

/** Requests beyond the last that was seen, that a writer may have made. */
const unseenMax = 20_000;

/** `lastSeq`: of those that stayed; Infinity while the writer lives. */
type Round = { seed: string; firstSeq: number; lastSeq: number };

export class DiskHistory {
  readonly image: string;
  #state: Uint32Array;
  #seq = 0;
  #rounds: Round[] = [];
  #count = 0;

  constructor(image: string, sectorCount: number) {
    this.image = image;
    this.#state = new Uint32Array(sectorCount);
  }

  get seq(): number {
    return this.#seq;
  }

  get sectorCount(): number {
    return this.#state.length;
  }

  /** For the writer that begins now. */
  begin(): ImageTask {
    const round = { seed: `${this.image}-${this.#count++}`, firstSeq: this.#seq + 1, lastSeq: Infinity };
    this.#rounds.push(round);
    return { image: this.image, seed: round.seed, firstSeq: round.firstSeq };
  }

  /** The writer is dead, and this is what is there: exactly a prefix of its requests, with all up to `minSeq`. */
  end(content: Uint8Array, minSeq: number): void {
    const found = foundIn(this, content, { base: this.#state, seq: this.#seq, minSeq });
    this.#state = found.state;
    this.#seq = this.#rounds.at(-1)!.lastSeq = found.seq;
  }

  /** What was written after request `seq`, as far as it stayed. Can be gone through again. */
  requestsFrom(seq: number): Iterable<Request> {
    return { [Symbol.iterator]: () => this.#requestsFrom(seq) };
  }

  *#requestsFrom(seq: number): Generator<Request> {
    for (const { seed, firstSeq, lastSeq } of this.#rounds) {
      const end = Math.min(lastSeq, Math.max(seq, firstSeq) + unseenMax);
      for (let at = Math.max(firstSeq, seq + 1); at <= end; at++) yield requestOf(seed, at, this.sectorCount);
    }
  }

  /** Nobody asks for requests before `seq` any more. */
  forget(seq: number): void {
    this.#rounds = this.#rounds.filter(({ lastSeq }) => lastSeq > seq);
  }
}

type From = { base: Uint32Array; seq: number; minSeq: number };

function foundIn(history: DiskHistory, content: Uint8Array, { base, seq, minSeq }: From): ReturnType<typeof reachedBy> {
  try {
    return reachedBy(decode(content), seq, { base, requests: history.requestsFrom(seq), minSeq });
  } catch (cause) {
    throw new Error(`${history.image}, which was at request ${seq}`, { cause });
  }
}

/** A replica of a disk: always a prefix, and never one that is shorter than before. */
export class ReplicaHistory {
  readonly primary: DiskHistory;
  #state: Uint32Array;
  #seq = 0;
  /** Moments at which it was looked at. */
  pointCount = 0;

  constructor(primary: DiskHistory) {
    this.primary = primary;
    this.#state = new Uint32Array(primary.sectorCount);
  }

  get seq(): number {
    return this.#seq;
  }

  look(content: Uint8Array): void {
    this.pointCount += 1;
    const found = foundIn(this.primary, content, { base: this.#state, seq: this.#seq, minSeq: this.#seq });
    this.#state = found.state;
    this.#seq = found.seq;
    this.primary.forget(found.seq);
  }

  /** It has followed to the end: no less than the primary has. */
  expectWhole(): void {
    const state = Uint32Array.from(this.#state);
    for (const request of this.primary.requestsFrom(this.#seq)) apply(state, request);
    if (state.every((seq, sector) => seq === this.#state[sector])) return;
    throw new Error(`the replica of ${this.primary.image} is at ${this.#seq}, its primary at ${this.primary.seq}`);
  }
}
