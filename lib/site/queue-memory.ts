// Owns the queue of a site that runs in one process: `node` sites and tests.
//
// - At least once: a message is handled until its outcome is `ack`; after `retriesMax` more attempts it goes to deadLetter.
// - At most `handledAtOnceMax` messages are in their handler; the others wait in the order in which they became due.
// - All time comes from the clock and all jitter from the random, so a virtual clock and a seed give one trace.
// Not promised: durability. Everything that waits is lost when the process ends; the next tick finds the work again.

import type { Clock } from '../clock.ts';
import { assert, FarsideError } from '../errors.ts';
import type { Message, Queue } from '../mirror/messages.ts';
import type { Random } from '../random.ts';
import { deliver, deliverySettings, type Consumer } from './delivery.ts';

export type MemoryQueueSettings = { handledAtOnceMax: number; retriesMax: number; backlogMessagesMax: number };

export const memoryQueueDefault: MemoryQueueSettings = {
  handledAtOnceMax: 4,
  retriesMax: deliverySettings.retriesMax,
  backlogMessagesMax: 200_000,
};

export type MemoryQueueDeps = { clock: Clock; random: Random; log: (line: string) => void };

/** `due`: may be handled now. `delayed`: waits for its time. `handling`: in its handler. */
export type Backlog = { due: number; delayed: number; handling: number };

type Entry = { text: string; attempts: number };

export class MemoryQueue implements Queue {
  readonly #deps: MemoryQueueDeps;
  readonly #settings: MemoryQueueSettings;
  readonly #due: Entry[] = [];
  readonly #handling = new Set<Promise<void>>();
  #delayed = 0;
  #consumer: Consumer | undefined;
  #stopped = false;

  constructor(deps: MemoryQueueDeps, settings: Partial<MemoryQueueSettings> = {}) {
    this.#deps = deps;
    this.#settings = { ...memoryQueueDefault, ...settings };
  }

  /** Copies the messages (as JSON, as a real queue would). Throws EAGAIN when the backlog is full: nothing was enqueued. */
  send(messages: readonly Message[], options: { delayMs?: number } = {}): Promise<void> {
    const { due, delayed } = this.backlog();
    if (due + delayed + messages.length > this.#settings.backlogMessagesMax) {
      return Promise.reject(
        new FarsideError(
          'EAGAIN',
          `the queue holds ${due + delayed} messages and takes no more; ticks will find the work`,
          { retry: 'later' },
        ),
      );
    }
    for (const message of messages) this.#enqueue({ text: JSON.stringify(message), attempts: 0 }, options.delayMs ?? 0);
    return Promise.resolve();
  }

  /** Messages sent before wait until now. */
  start(consumer: Consumer): void {
    assert(this.#consumer === undefined, 'a memory queue is started once');
    this.#consumer = consumer;
    this.#pump();
  }

  /** Takes no further message into a handler, forgets all that wait, and resolves when the last handler has returned. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#due.length = 0;
    await Promise.all(this.#handling);
  }

  backlog(): Backlog {
    return { due: this.#due.length, delayed: this.#delayed, handling: this.#handling.size };
  }

  #enqueue(entry: Entry, delayMs: number): void {
    if (delayMs > 0) void this.#enqueueLater(entry, delayMs);
    else this.#enqueueNow(entry);
  }

  async #enqueueLater(entry: Entry, delayMs: number): Promise<void> {
    this.#delayed += 1;
    await this.#deps.clock.sleep(delayMs);
    this.#delayed -= 1;
    this.#enqueueNow(entry);
  }

  #enqueueNow(entry: Entry): void {
    if (this.#stopped) return;
    this.#due.push(entry);
    this.#pump();
  }

  #pump(): void {
    while (this.#consumer !== undefined && this.#handling.size < this.#settings.handledAtOnceMax) {
      const entry = this.#due.shift();
      if (entry === undefined) return;
      const handling: Promise<void> = this.#attempt(this.#consumer, entry).finally(() => {
        this.#handling.delete(handling);
        this.#pump();
      });
      this.#handling.add(handling);
    }
  }

  async #attempt(consumer: Consumer, entry: Entry): Promise<void> {
    const attempts = entry.attempts + 1;
    const outcome = await deliver(consumer, { body: JSON.parse(entry.text), attempts }, this.#deps, this.#settings);
    // A dead letter that cannot be recorded is dropped: the message was a wake-up, its work is not lost.
    if (outcome.kind === 'ack' || attempts > this.#settings.retriesMax) return;
    this.#enqueue({ text: entry.text, attempts }, outcome.delayMs);
  }
}
