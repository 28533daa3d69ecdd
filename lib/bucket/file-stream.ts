// Owns the reading of an open file as a byte stream: straight into memory that the reader brings and may use again. The file is
// closed once, at the end of the stream, at a fault or when it is cancelled, but never under a read that is going on.

import fs from 'node:fs';
import { promisify } from 'node:util';

import { assert, FarsideError } from '../errors.ts';
import { translatedFault } from './file-faults.ts';

/** Read at once for a reader that brings no memory. */
const partBytes = 256 * 1024;

const read = promisify(fs.read);

/** The first `bytes` bytes of `file`, which is the stream's from here on. `key` names it in failures. */
export const streamFile = (file: number, key: string, bytes: number): ReadableStream<Uint8Array<ArrayBuffer>> =>
  new ReadableStream(new FileSource(file, key, bytes));

class FileSource implements UnderlyingByteSource {
  readonly type = 'bytes';
  readonly autoAllocateChunkSize = partBytes;
  readonly #file: number;
  readonly #key: string;
  readonly #bytes: number;
  #readBytes = 0;
  #isReading = false;
  #isCancelled = false;

  constructor(file: number, key: string, bytes: number) {
    this.#file = file;
    this.#key = key;
    this.#bytes = bytes;
  }

  async pull(controller: ReadableByteStreamController): Promise<void> {
    const request = controller.byobRequest;
    assert(request?.view instanceof Uint8Array, 'a byte stream is pulled without memory to fill');
    const bytes = await this.#fill(request.view);
    if (this.#isCancelled) return;
    if (bytes === 0) {
      fs.closeSync(this.#file);
      controller.close();
    }
    request.respond(bytes);
  }

  cancel(): void {
    this.#isCancelled = true;
    if (!this.#isReading) fs.closeSync(this.#file);
  }

  /** Bytes read; 0: the end. */
  async #fill(view: Uint8Array): Promise<number> {
    const wantedBytes = Math.min(view.byteLength, this.#bytes - this.#readBytes);
    if (wantedBytes === 0) return 0;
    this.#isReading = true;
    try {
      const { bytesRead } = await read(this.#file, view, 0, wantedBytes, this.#readBytes);
      if (bytesRead === 0) throw new FarsideError('EIO', `the file of '${this.#key}' ended early: was it cut short?`);
      this.#readBytes += bytesRead;
      if (this.#isCancelled) fs.closeSync(this.#file);
      return bytesRead;
    } catch (error) {
      fs.closeSync(this.#file);
      throw translatedFault(this.#key, error);
    } finally {
      this.#isReading = false;
    }
  }
}
