// Owns how the entries that a walk found become pieces: bounded units of copying. Pure.
//
// Entries are gathered by pack, so that a pack is fetched once however many map nodes refer to it. Packs keep the order in
// which the walk met them, which is the order of image offsets. A pack with more ranges than a piece may have is split; the
// replica then unites its parts.

import { entryRanges } from '../../image/packs/pack-copy.ts';
import type { Pack } from '../../image/packs/pack-store.ts';
import type { Limits } from '../limits.ts';
import type { PackWant, Piece } from '../messages.ts';

export class PieceCutter {
  readonly #limits: Pick<Limits, 'pieceBytesMax' | 'piecePacksMax' | 'pieceRangesMax'>;
  readonly #packs = new Map<string, { pack: Pack; entries: Set<number> }>();

  constructor(limits: Pick<Limits, 'pieceBytesMax' | 'piecePacksMax' | 'pieceRangesMax'>) {
    this.#limits = limits;
  }

  add(pack: Pack, entryIndex: number): void {
    const known = this.#packs.get(pack.packId);
    if (known) known.entries.add(entryIndex);
    else this.#packs.set(pack.packId, { pack, entries: new Set([entryIndex]) });
  }

  pieces(): Piece[] {
    const wants = [...this.#packs.values()].flatMap(({ pack, entries }) =>
      wantsOf(pack, entries, this.#limits.pieceRangesMax),
    );
    const pieces: Piece[] = [];
    let ranges = 0;
    for (const want of wants) {
      const last = pieces.at(-1);
      const fits = last && this.#fits(last, want) && ranges + rangeCount(want) <= this.#limits.pieceRangesMax;
      ranges = fits ? ranges + rangeCount(want) : rangeCount(want);
      if (fits) addTo(last, want);
      else pieces.push({ bytes: want.payloadBytes, packs: [want] });
    }
    return pieces;
  }

  #fits(piece: Piece, want: PackWant): boolean {
    return (
      piece.packs.length < this.#limits.piecePacksMax && piece.bytes + want.payloadBytes <= this.#limits.pieceBytesMax
    );
  }
}

function addTo(piece: Piece, want: PackWant): void {
  piece.packs.push(want);
  piece.bytes += want.payloadBytes;
}

const rangeCount = (want: PackWant): number => (want.entries === 'all' ? 1 : want.entries.length);

function wantsOf(pack: Pack, entries: ReadonlySet<number>, rangesMax: number): PackWant[] {
  const { packId, entryCount, packBytes, slot } = pack;
  const ranges = entryRanges(
    [...entries].toSorted((a, b) => a - b),
    entryCount,
  );
  const base = { pack: packId, entryCount, packBytes, ...(slot && { slot }) };
  if (ranges === 'all') return [{ ...base, payloadBytes: packBytes, entries: 'all' }];
  const wants: PackWant[] = [];
  for (let index = 0; index < ranges.length; index += rangesMax) {
    const part = ranges.slice(index, index + rangesMax).map(([first, last]): [number, number] => [first, last]);
    const count = part.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    // Entries differ in size; the index that knows it is not read here.
    wants.push({ ...base, payloadBytes: Math.ceil((packBytes * count) / entryCount), entries: part });
  }
  return wants;
}
