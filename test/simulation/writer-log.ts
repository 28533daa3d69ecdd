// Owns what an attached writer did in a simulation, request by request: what the image holds after each of them, how many of
// them are in the head of the image, and so what a flush may claim (I5), and when (I6).

import type { ImageTruth } from './truth/image-truth.ts';
import { contentOf, type Content } from './bucket-reader.ts';
import { Violation } from './violation.ts';

export class WriterLog {
  /** `[0]`: when it attached the image; then after each request. */
  #contents: Content[] = [];
  #requests: { offset: number; data: Buffer }[] = [];
  readonly #replayed = new Map<string, Content>();
  #landed = 0;
  #stillCount: number | undefined;
  #truth: ImageTruth | undefined;
  #epoch = '';

  /** The header names this writer's epoch. */
  begin(truth: ImageTruth, epoch: string, content: Content): void {
    this.#truth = truth;
    this.#epoch = epoch;
    this.#contents = [content];
    this.#requests = [];
    this.#landed = 0;
    this.#stillCount = undefined;
  }

  get epoch(): string {
    return this.#epoch;
  }

  get newest(): Content {
    const newest = this.#contents.at(-1);
    if (!newest) throw new Violation('I5', 'an image was attached, and no header names its epoch');
    return newest;
  }

  /** A request is about to be sent. */
  request(offset: number, data: Buffer): void {
    const bytes = Buffer.from(this.newest.bytes);
    data.copy(bytes, offset);
    this.#contents.push(contentOf(bytes));
    this.#requests.push({ offset, data });
  }

  /** What the requests from number `from` to `to` make of another content; of the one that they were made for, mostly. */
  replay(base: Content, from: number, to: number): Content {
    const [before, after] = [this.#contents[from]!, this.#contents[to]!];
    if (before.id === base.id) return after;
    const key = `${base.id} ${from} ${to}`;
    let content = this.#replayed.get(key);
    if (!content) {
      const bytes = Buffer.from(base.bytes);
      for (const { offset, data } of this.#requests.slice(from, to))
        if (offset < bytes.length) data.copy(bytes, offset);
      this.#replayed.set(key, (content = contentOf(bytes)));
    }
    return content;
  }

  /** Requests in the head. */
  get landedCount(): number {
    return this.#landed;
  }

  /** Whether a head with this content is a longer prefix of what was written than the one before. */
  lands(content: Content): boolean {
    const found = this.#contents.findIndex(({ id }, index) => index > this.#landed && id === content.id);
    if (found < 0) return false;
    this.#landed = found;
    return true;
  }

  /** The image was given another size meanwhile. */
  resize(change: (content: Content) => Content): void {
    this.#contents = this.#contents.map(change);
  }

  /** Its hook says that a snapshot may hold every request so far, and none that comes later. */
  standsStill(): void {
    this.#stillCount = this.requestCount;
  }

  /** When its hook said so last, in this epoch: that many requests. */
  get stillCount(): number | undefined {
    return this.#stillCount;
  }

  contentAfter(requestCount: number): Content {
    return this.#contents[requestCount]!;
  }

  get requestCount(): number {
    return this.#contents.length - 1;
  }

  /** A flush of the first `count` requests said that it succeeded. */
  flushed(count: number): void {
    const { id } = this.#contents[this.#landed]!;
    if (this.#contents.some((content, index) => index >= count && content.id === id)) return;
    const { title, header } = this.#truth!;
    const isAccepted = header.journal?.state === 'open' && header.journal.folded.epoch === this.#epoch;
    const what = `a flush of ${count} requests of ${title}, of which ${this.#landed} are in its head, succeeded`;
    throw isAccepted ? new Violation('I5', what) : new Violation('I6', `${what}, and epoch ${this.#epoch} has ended`);
  }
}
