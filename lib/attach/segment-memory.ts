// Owns the memory of what was written and is not in the bucket yet. What is written is copied here, so that whoever wrote it has his
// memory back at once; where the codec has threads, they see it in place. Pieces are filled one behind another and used again.

const pieceBytes = 1024 * 1024;
/** Kept for what is written next: about a segment. */
const freePiecesMax = 8;

export class Pieces {
  readonly #room: (bytes: number) => Buffer;
  readonly #free: Buffer[] = [];

  /** @param room gives new memory. */
  constructor(room: (bytes: number) => Buffer) {
    this.#room = room;
  }

  take(): Buffer {
    return this.#free.pop() ?? this.#room(pieceBytes);
  }

  give(pieces: readonly Buffer[]): void {
    this.#free.push(...pieces.slice(0, freePiecesMax - this.#free.length));
  }
}

/** Of one segment. */
export class SegmentMemory {
  readonly #pieces: Pieces;
  #taken: Buffer[] = [];
  #filledBytes = pieceBytes;

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
    this.#filledBytes = pieceBytes;
  }

  #next(bytesMax: number): Buffer {
    if (this.#filledBytes === pieceBytes) {
      this.#taken.push(this.#pieces.take());
      this.#filledBytes = 0;
    }
    const from = this.#filledBytes;
    this.#filledBytes = Math.min(pieceBytes, from + bytesMax);
    return this.#taken.at(-1)!.subarray(from, this.#filledBytes);
  }
}
