// Owns a site's queue in a simulation: at least once, in any order, with losses. A durable queue keeps its messages over a
// restart of the site, as Cloudflare's does; another loses them, as the in-process queue of a `node` site does.

import { FarsideError } from '../../lib/errors.ts';
import type { Message, Outcome, Queue } from '../../lib/mirror/messages.ts';
import type { Dice } from './dice.ts';
import type { Process, Scheduler } from './scheduler.ts';
import type { Weather } from './weather.ts';

export type Consumer = {
  /** The site's running incarnation; undefined while it is down. */
  current(): Process | undefined;
  /** Called as a part of that process. */
  handle(message: unknown, attempts: number): Promise<Outcome>;
};

type Entry = { text: string; attempts: number };

const retriesMax = 10;
const redeliverAfterCrashMs = 5000;

export class SimulatedQueue implements Queue {
  readonly #name: string;
  readonly #scheduler: Scheduler;
  readonly #dice: Dice;
  readonly #weather: Weather;
  readonly #isDurable: boolean;
  readonly #consumer: Consumer;
  /** Not yet handled. */
  waiting = 0;

  constructor(
    name: string,
    parts: { scheduler: Scheduler; dice: Dice; weather: Weather; isDurable: boolean; consumer: Consumer },
  ) {
    this.#name = name;
    this.#scheduler = parts.scheduler;
    this.#dice = parts.dice;
    this.#weather = parts.weather;
    this.#isDurable = parts.isDurable;
    this.#consumer = parts.consumer;
  }

  async send(messages: readonly Message[], options: { delayMs?: number } = {}): Promise<void> {
    await this.#scheduler.pause(this.#weather.latencyMs(this.#dice));
    const isLost = this.#dice.chance(this.#weather.sendFaults);
    if (isLost && this.#dice.chance(0.5)) throw unsent();
    for (const message of messages) this.#accept({ text: JSON.stringify(message), attempts: 0 }, options.delayMs ?? 0);
    if (isLost) throw unsent();
  }

  #accept(entry: Entry, delayMs: number): void {
    const { losses, duplicates, delays, loseEverything } = this.#weather;
    if (loseEverything || this.#dice.chance(losses))
      return this.#scheduler.trace(`${this.#name} loses ${entry.text.slice(0, 100)}`);
    const copies = this.#dice.chance(duplicates) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const extraMs = this.#dice.chance(delays) ? this.#dice.integer(1000, 90_000) : this.#dice.skewed(1, 1000);
      this.#later(entry, delayMs + extraMs);
    }
  }

  #later(entry: Entry, delayMs: number): void {
    const keeper = this.#isDurable ? this.#scheduler.world : this.#consumer.current();
    if (!keeper) return;
    this.waiting += 1;
    const forget = (): void => void (this.waiting -= 1);
    keeper.onDeath.add(forget);
    this.#scheduler.after(delayMs, keeper, () => {
      keeper.onDeath.delete(forget);
      this.waiting -= 1;
      this.#deliver(entry);
    });
  }

  #deliver(entry: Entry): void {
    const process = this.#consumer.current();
    if (!process) return this.#isDurable ? this.#later(entry, redeliverAfterCrashMs) : undefined;
    const attempts = entry.attempts + 1;
    const message: unknown = JSON.parse(entry.text);
    const label = `${(message as Message).type}#${this.#scheduler.eventCount}`;
    this.#scheduler.trace(`${this.#name} handles ${label} ${entry.text.slice(0, 160)}`);
    this.waiting += 1;
    const crashed = (): void => {
      this.waiting -= 1;
      if (this.#isDurable) this.#later({ text: entry.text, attempts }, redeliverAfterCrashMs);
    };
    process.onDeath.add(crashed);
    this.#scheduler.as({ process, label }, () => {
      this.#consumer.handle(message, attempts).then(
        (outcome) => {
          process.onDeath.delete(crashed);
          this.waiting -= 1;
          this.#settle(entry.text, attempts, outcome);
        },
        (error: unknown) => {
          process.onDeath.delete(crashed);
          this.waiting -= 1;
          if (!(error instanceof FarsideError)) return this.#scheduler.fail(error);
          this.#settle(entry.text, attempts, { kind: 'retry', delayMs: this.#dice.integer(500, 8000) });
        },
      );
    });
  }

  #settle(text: string, attempts: number, outcome: Outcome): void {
    if (outcome.kind === 'retry') {
      if (attempts <= retriesMax) this.#later({ text, attempts }, outcome.delayMs + this.#dice.skewed(1, 500));
      return;
    }
    if (this.#dice.chance(this.#weather.redeliveries)) this.#later({ text, attempts }, this.#dice.integer(1, 60_000));
  }
}

const unsent = (): FarsideError => new FarsideError('EAGAIN', 'the queue takes no messages now', { retry: 'later' });
