// Owns pulling exact amounts out of a stream of chunks. Memory: the chunk at hand, and a small buffer for what crosses
// chunks; nothing is allocated for a length that the stream merely claims.

import { assert, FarsideError } from '../errors.ts';

/** Beyond it, bytes are to be taken piece by piece. */
const exactBytesMax = 1024 * 1024;

/** What rbd exits with where a stream ends too early differs by command. */
export type TruncatedCode = 'EBADMSG' | 'EDOM';

export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #truncatedCode: TruncatedCode;
  #chunk: Uint8Array = new Uint8Array();
  /** Bytes taken so far. */
  positionBytes = 0;

  /** Chunks are not copied: their bytes must not change while somebody uses what was taken. */
  constructor(chunks: AsyncIterable<Uint8Array>, truncatedCode: TruncatedCode) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#truncatedCode = truncatedCode;
  }

  /** Exactly so many bytes (1 MiB at most). */
  async exact(byteCount: number): Promise<Buffer> {
    assert(byteCount <= exactBytesMax, 'too much is asked for at once');
    if (this.#chunk.length >= byteCount) return this.#take(byteCount);
    const parts: Buffer[] = [];
    for (let missing = byteCount; missing > 0;) {
      const part = await this.some(missing);
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** At least one byte and at most `byteCountMax`, without copying. */
  async some(byteCountMax: number): Promise<Buffer> {
    assert(byteCountMax > 0, 'nothing is asked for');
    await this.#fill();
    return this.#take(Math.min(byteCountMax, this.#chunk.length));
  }

  async skip(byteCount: number): Promise<void> {
    for (let missing = byteCount; missing > 0;) missing -= (await this.some(missing)).length;
  }

  /** Lets go of the stream; what follows in it is not looked at. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #fill(): Promise<void> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true)
        throw new FarsideError(this.#truncatedCode, `the stream ends too early, after ${this.positionBytes} bytes`);
      this.#chunk = next.value;
    }
  }

  #take(byteCount: number): Buffer {
    const taken = Buffer.from(this.#chunk.buffer, this.#chunk.byteOffset, byteCount);
    this.#chunk = this.#chunk.subarray(byteCount);
    this.positionBytes += byteCount;
    return taken;
  }
}
