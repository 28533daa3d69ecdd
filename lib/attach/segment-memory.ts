// Owns the memory of what was written and is not in the bucket yet. What is written is copied here, so that whoever wrote it has his
// memory back at once; where the codec has threads, they see it in place. Pieces are filled one behind another and used again.

const pieceBytes = 1024 * 1024;
/** A segment of little data, as every flush makes one where there is a log, takes no more: there may be thousands while the bucket is away. */
const firstPieceBytes = 16 * 1024;
/** Kept for what is written next: about a segment. */
const freePiecesMax = 8;

export class Pieces {
  readonly #room: (bytes: number) => Buffer;
  readonly #free = new Map<number, Buffer[]>([firstPieceBytes, pieceBytes].map((bytes) => [bytes, []]));

  /** @param room gives new memory. */
  constructor(room: (bytes: number) => Buffer) {
    this.#room = room;
  }

  take(isFirst: boolean): Buffer {
    const bytes = isFirst ? firstPieceBytes : pieceBytes;
    return this.#free.get(bytes)!.pop() ?? this.#room(bytes);
  }

  give(pieces: readonly Buffer[]): void {
    for (const piece of pieces) {
      const free = this.#free.get(piece.length)!;
      if (free.length < freePiecesMax) free.push(piece);
    }
  }
}

/** Of one segment. */
export class SegmentMemory {
  readonly #pieces: Pieces;
  #taken: Buffer[] = [];
  /** Of the last piece. */
  #filledBytes = 0;

  constructor(pieces: Pieces) {
    this.#pieces = pieces;
  }

  /** Copies data of any length. `take` gets the copy, in parts. */
  keep(data: Uint8Array, take: (part: Uint8Array, at: number) => void): void {
    for (let at = 0; at < data.length;) {
      const part = this.#next(data.length - at);
      part.set(data.subarray(at, at + part.length));
      take(part, at);
      at += part.length;
    }
  }

  /** Nobody looks at what was kept any more. */
  free(): void {
    this.#pieces.give(this.#taken);
    this.#taken = [];
    this.#filledBytes = 0;
  }

  #next(bytesMax: number): Buffer {
    let piece = this.#taken.at(-1);
    if (!piece || this.#filledBytes === piece.length) {
      piece = this.#pieces.take(!piece);
      this.#taken.push(piece);
      this.#filledBytes = 0;
    }
    const from = this.#filledBytes;
    this.#filledBytes = Math.min(piece.length, from + bytesMax);
    return piece.subarray(from, this.#filledBytes);
  }
}
