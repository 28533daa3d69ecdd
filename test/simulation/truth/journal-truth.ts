// Owns what is true of journals in a simulation: of every epoch how much of what its writer wrote each slot brought, and so what
// an image shows that has a point and the slots behind it. Worked out from the writer's requests, not from the slots.

import type { JournalPosition } from '../../../lib/image/header.ts';
import type { Content } from '../bucket-reader.ts';
import { Violation } from '../violation.ts';
import type { WriterLog } from '../writer-log.ts';

/** How much of every epoch an image's content holds: the slots before that number. */
export type Reach = ReadonlyMap<string, number>;

export const covers = (whole: Reach, part: Reach): boolean =>
  [...part].every(([epoch, seq]) => (whole.get(epoch) ?? 0) >= seq);

export const sameReach = (a: Reach, b: Reach): boolean => covers(a, b) && covers(b, a);

/** `upTo[n]`: requests that are in the head when the first `n` slots are filled. */
type Epoch = { writer: WriterLog; upTo: number[] };

export class JournalTruth {
  readonly #epochs = new Map<string, Epoch>();

  begin(epoch: string, writer: WriterLog): void {
    this.#epochs.set(epoch, { writer, upTo: [0] });
  }

  /** A slot was filled at the primary, by the epoch's writer. */
  landed(epoch: string, seq: number, requestCount: number): void {
    const { upTo } = this.#epochs.get(epoch)!;
    if (seq !== upTo.length - 1)
      throw new Violation('I5', `slot ${seq} of epoch ${epoch} was filled, and ${upTo.length - 1} was the next`);
    upTo.push(requestCount);
  }

  /** The first slot of it that its writer has not filled. */
  endOf(epoch: string): number {
    return (this.#epochs.get(epoch)?.upTo.length ?? 1) - 1;
  }

  /** What an image shows that has a point, taken at `from`, and the slots of its epoch before `toSeq`. */
  contentAt(point: Content, from: JournalPosition, toSeq: number): Content {
    const { writer, upTo } = this.#epochs.get(from.epoch)!;
    return writer.replay(point, upTo[from.seq]!, upTo[toSeq]!);
  }
}
