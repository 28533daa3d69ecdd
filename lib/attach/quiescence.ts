// Owns the writer's side of a quiesce (lib/image/journal/quiesce.ts): one request at a time, seen in the header. The hook stills what writes
// to the image, what comes all the same is held, everything is put into slots, and the answer says so; until whoever asked has its
// snapshot, or `holdMs` have passed. The hook is run for the end whenever it was run for the begin, also when that failed.

import { FarsideError } from '../errors.ts';
import type { ImageDeps } from '../image/deps.ts';
import { quiesceFailureCharsMax, type Header, type QuiesceRequest } from '../image/header.ts';
import { answerRequest } from '../image/journal/quiesce.ts';

/** Stills what writes to the image, or lets it go on. Must end by itself. */
export type QuiesceHook = (action: 'quiesce' | 'unquiesce') => Promise<void>;

/** Writes that are held. `release` may be called before they are, and again. */
export type Hold = { begun: Promise<void>; release: () => void };

/** `inOrder` does work behind whatever came before, and before whatever comes later. */
export function holdOf(inOrder: (work: () => Promise<void>) => Promise<void>): Hold {
  const begun = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const held = (): Promise<void> => {
    begun.resolve();
    return released.promise;
  };
  inOrder(held).catch(begun.reject);
  return { begun: begun.promise, release: released.resolve };
}

export type QuiescenceOptions = {
  imageId: string;
  hook: QuiesceHook;
  hold: () => Hold;
  /** Puts everything that was accepted into slots; gives the first free one. */
  drain: () => Promise<number>;
  holdMs: number;
};

type End = 'taken' | 'late' | 'detached';
type Running = { id: string; endMs: number; isReleased: boolean; end: (why: End) => void; done: Promise<void> };

export class Quiescence {
  readonly #deps: ImageDeps;
  readonly #options: QuiescenceOptions;
  #running: Running | undefined;
  /** Its request may be seen once more, in a header that was read before the answer. */
  #lastId: string | undefined;

  constructor(deps: ImageDeps, options: QuiescenceOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Then the header is worth a look: somebody waits for the writer, and the writer for them. */
  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** A header that is no older than those before: the same one again, while a request had to wait. */
  see({ journal }: Header): void {
    const request = journal?.quiesce;
    if (this.#running && request?.id !== this.#running.id) this.#running.end('taken');
    if (!this.#running && request?.state === 'asked' && request.id !== this.#lastId) this.#begin(request);
  }

  /** To be called about once a second. */
  maintain(): void {
    if (this.#running && this.#deps.clock.nowMs() >= this.#running.endMs) this.#running.end('late');
  }

  /** The image is given back, or was taken away. Resolves when the hook was run for the end. */
  async stop(): Promise<void> {
    this.#running?.end('detached');
    await this.#running?.done;
  }

  #begin({ id }: QuiesceRequest): void {
    const { promise, resolve } = Promise.withResolvers<End>();
    this.#lastId = id;
    const running: Running = { id, endMs: Infinity, isReleased: false, end: resolve, done: Promise.resolve() };
    this.#running = running;
    running.done = this.#run(running, promise).finally(() => (this.#running = undefined));
  }

  /** Never throws. */
  async #run(running: Running, ended: Promise<End>): Promise<void> {
    const { hook } = this.#options;
    let release = (): void => {};
    try {
      await hook('quiesce');
      running.endMs = this.#deps.clock.nowMs() + this.#options.holdMs;
      const hold = this.#options.hold();
      ({ release } = hold);
      const end = await Promise.race([this.#quiet(running, hold, ended), ended]);
      // Before anything is written again: no snapshot may be taken for quiesced then.
      if (end === 'late') await this.#answer(running, undefined);
    } catch (error) {
      await this.#answer(running, failureAnswer(error));
    } finally {
      running.isReleased = true;
      release();
      await hook('unquiesce').catch(() => {});
    }
  }

  async #quiet(running: Running, { begun }: Hold, ended: Promise<End>): Promise<End> {
    await begun;
    const seq = await this.#options.drain();
    // It took too long: by now others may have written, and what lies before that slot is not what was held still.
    if (running.isReleased) return 'taken';
    return (await this.#answer(running, { state: 'quiesced', seq })) ? ended : 'taken';
  }

  /** False when the request was gone, or it could not be said: then whoever asked waits in vain, and not for long. */
  #answer({ id }: Running, answer: Parameters<typeof answerRequest>[3]): Promise<boolean> {
    return answerRequest(this.#deps, this.#options.imageId, id, answer).catch(() => false);
  }
}

function failureAnswer(error: unknown): Parameters<typeof answerRequest>[3] {
  const code = error instanceof FarsideError ? error.code : 'EIO';
  const message = error instanceof Error ? error.message : String(error);
  return { state: 'failed', failure: { code, message: message.slice(0, quiesceFailureCharsMax) } };
}
