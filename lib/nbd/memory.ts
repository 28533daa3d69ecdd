// Owns the memory that payload passes through, which is used again and again: what the system and the collector would have to do for
// new memory costs as much as copying the payload. Pieces are of a few sizes. Of what is not in use, some is kept.

/** Nothing smaller is kept. */
const pieceBytesMin = 4096;
const nothing = Buffer.alloc(0);

export class PayloadMemory {
  readonly #keptBytesMax: number;
  readonly #free = new Map<number, Buffer[]>();
  #keptBytes = 0;

  constructor(keptBytesMax: number) {
    this.#keptBytesMax = keptBytesMax;
  }

  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Exactly so many bytes, with anything in them. Whoever does not give them back costs nothing but new memory. */
  take(byteCount: number): Buffer {
    if (byteCount === 0) return nothing;
    const pieceBytes = pieceBytesFor(byteCount);
    const kept = this.#free.get(pieceBytes)?.pop();
    if (kept !== undefined) this.#keptBytes -= pieceBytes;
    return (kept ?? Buffer.allocUnsafeSlow(pieceBytes)).subarray(0, byteCount);
  }

  /** What `take` answered, which nobody looks at any more. */
  give(taken: Buffer): void {
    if (taken.length === 0) return;
    const pieceBytes = taken.buffer.byteLength;
    if (this.#keptBytes + pieceBytes > this.#keptBytesMax) return;
    this.#keptBytes += pieceBytes;
    const free = this.#free.get(pieceBytes);
    const piece = Buffer.from(taken.buffer);
    if (free) free.push(piece);
    else this.#free.set(pieceBytes, [piece]);
  }
}

/** The next power of two. */
const pieceBytesFor = (byteCount: number): number => Math.max(pieceBytesMin, 2 ** Math.ceil(Math.log2(byteCount)));
