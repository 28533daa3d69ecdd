// Owns what has arrived on a connection and was not asked for yet. Bytes that somebody waits for go straight to where they are
// wanted. One reader at a time. The end of the stream is a value, not a failure: peers go away.

import { assert } from '../errors.ts';

/** Who can hold back the sender. */
export interface Flow {
  pause(): void;
  resume(): void;
}

/** Beyond it the sender is held back until somebody reads. A chunk or two more may still come. */
const bufferedBytesMax = 256 * 1024;

type Wait = {
  /** undefined: the bytes are dropped. */
  target: Uint8Array | undefined;
  filledBytes: number;
  byteCount: number;
  /** A message has begun before these bytes. */
  isBody: boolean;
  done(isWhole: boolean): void;
};

export class Inbox {
  readonly #flow: Flow;
  #chunks: Buffer[] = [];
  #wait: Wait | undefined;
  #hasEnded = false;
  #isPaused = false;
  #bufferedBytes = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** The sender owes the rest of a message. */
  get isMidway(): boolean {
    return this.#wait !== undefined && (this.#wait.isBody || this.#wait.filledBytes > 0);
  }

  push(chunk: Buffer): void {
    if (this.#hasEnded || chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
    const wait = this.#wait;
    if (wait !== undefined && this.#give(wait)) this.#settle(wait, true);
    this.#holdBack();
  }

  /** Nothing more comes; what is here can still be read. */
  end(): void {
    this.#hasEnded = true;
    if (this.#wait) this.#settle(this.#wait, false);
  }

  /** As `end`, and what is here is dropped. */
  drop(): void {
    this.#chunks = [];
    this.#bufferedBytes = 0;
    this.end();
  }

  /** The beginning of a message: exactly so many bytes, which may be a part of a larger buffer. undefined: the stream ended. */
  async exact(byteCount: number): Promise<Buffer | undefined> {
    const first = this.#chunks[0];
    if (first !== undefined && first.length >= byteCount) return this.#take(first, byteCount);
    const target = Buffer.allocUnsafe(byteCount);
    return (await this.#await(target, byteCount, false)) ? target : undefined;
  }

  /** The rest of a message. Whether the whole target was filled. */
  fill(target: Uint8Array): Promise<boolean> {
    return this.#await(target, target.length, true);
  }

  skip(byteCount: number): Promise<boolean> {
    return this.#await(undefined, byteCount, true);
  }

  async #await(target: Uint8Array | undefined, byteCount: number, isBody: boolean): Promise<boolean> {
    assert(this.#wait === undefined, 'an inbox has one reader');
    const wait: Wait = { target, filledBytes: 0, byteCount, isBody, done: () => {} };
    if (this.#give(wait)) return true;
    if (this.#hasEnded) return false;
    return await new Promise((resolve) => {
      wait.done = resolve;
      this.#wait = wait;
    });
  }

  /** Whether that was all of it. */
  #give(wait: Wait): boolean {
    for (
      let chunk = this.#chunks[0];
      chunk !== undefined && wait.filledBytes < wait.byteCount;
      chunk = this.#chunks[0]
    ) {
      const part = this.#take(chunk, Math.min(chunk.length, wait.byteCount - wait.filledBytes));
      wait.target?.set(part, wait.filledBytes);
      wait.filledBytes += part.length;
    }
    return wait.filledBytes === wait.byteCount;
  }

  #take(chunk: Buffer, byteCount: number): Buffer {
    if (byteCount === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(byteCount);
    this.#bufferedBytes -= byteCount;
    this.#letCome();
    return chunk.subarray(0, byteCount);
  }

  #settle(wait: Wait, isWhole: boolean): void {
    this.#wait = undefined;
    wait.done(isWhole);
  }

  #holdBack(): void {
    if (this.#isPaused || this.#bufferedBytes <= bufferedBytesMax) return;
    this.#isPaused = true;
    this.#flow.pause();
  }

  #letCome(): void {
    if (!this.#isPaused || this.#bufferedBytes > bufferedBytesMax) return;
    this.#isPaused = false;
    this.#flow.resume();
  }
}
