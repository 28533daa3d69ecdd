// Owns order and time in a simulation. Everything that happens is an event with a virtual time; the scheduler takes the
// earliest, runs it, and lets everything that follows from it without another event run to its end before the next one.
// Code under test waits only for promises, so "its end" is reached when the microtasks are used up: `process.nextTick`, asked
// for from a microtask, runs exactly then.
//
// Whatever runs belongs to a *process* (a site's incarnation, a client). An event of a process that was killed never
// happens, so its promises stay open for ever, as those of a real process that dies between two requests.

import { AsyncLocalStorage } from 'node:async_hooks';
import { crc32 } from 'node:zlib';

import type { Clock } from '../../lib/clock.ts';

/** Something that can die. `onDeath`: what others notice. */
export class Process {
  readonly name: string;
  isDead = false;
  readonly onDeath = new Set<() => void>();

  constructor(name: string) {
    this.name = name;
  }

  kill(): void {
    if (this.isDead) return;
    this.isDead = true;
    for (const notice of this.onDeath) notice();
    this.onDeath.clear();
  }
}

/** On whose behalf code runs. `operation`: the command that it belongs to, if any. */
export type Origin = { process: Process; operation?: object | undefined; label: string };

type Event = { atMs: number; order: number; process: Process; run: () => void };

/** Virtual time begins here: 2026-11-23. */
const epochMs = 1_795_000_000_000;
const tailLines = 120;

export class Scheduler {
  readonly #heap: Event[] = [];
  readonly #origins = new AsyncLocalStorage<Origin>();
  readonly #tail: string[] = [];
  #nowMs = epochMs;
  #order = 0;
  #hash = 0;
  #eventCount = 0;
  #failure: { error: unknown } | undefined;
  /** Set to see every line of the trace. */
  onTrace: ((line: string) => void) | undefined;

  /** The world itself, which never dies. */
  readonly world = new Process('world');

  get nowMs(): number {
    return this.#nowMs;
  }

  get elapsedMs(): number {
    return this.#nowMs - epochMs;
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  /** Of every line of the trace so far. */
  get traceHash(): number {
    return this.#hash;
  }

  get tail(): readonly string[] {
    return this.#tail;
  }

  readonly clock: Clock = {
    nowMs: () => this.#nowMs,
    sleep: (durationMs) => this.pause(durationMs),
  };

  get origin(): Origin {
    return this.#origins.getStore() ?? { process: this.world, label: 'world' };
  }

  trace(line: string): void {
    const text = `${(this.elapsedMs / 1000).toFixed(3)} ${line}`;
    this.#hash = crc32(text, this.#hash);
    this.#tail.push(text);
    if (this.#tail.length > tailLines * 2) this.#tail.splice(0, tailLines);
    this.onTrace?.(text);
  }

  /** Runs `work` as part of `origin`, now. */
  as<T>(origin: Origin, work: () => T): T {
    return this.#origins.run(origin, work);
  }

  /** `run` happens in `delayMs`, unless `process` is dead then. */
  after(delayMs: number, process: Process, run: () => void): void {
    this.#push({ atMs: this.#nowMs + Math.max(0, Math.round(delayMs)), order: this.#order++, process, run });
  }

  /** Resolves in `delayMs`; never, when whoever waits is dead by then. */
  pause(delayMs: number): Promise<void> {
    const { process } = this.origin;
    return new Promise((resolve) => {
      this.after(delayMs, process, resolve);
    });
  }

  /** The first failure ends the run: it is thrown by `runUntil`. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Runs events until `isDone` says so, or none is left. Throws what was given to `fail`. */
  async runUntil(isDone: () => boolean, eventsMax: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const nextStep = (): void => process.nextTick(step);
      const step = (): void => {
        if (this.#failure || isDone()) return resolve();
        const event = this.#pop();
        if (!event) return resolve();
        if (!event.process.isDead) {
          this.#nowMs = event.atMs;
          this.#eventCount += 1;
          if (this.#eventCount > eventsMax) this.fail(new Error(`no end after ${eventsMax} events`));
          else this.#run(event);
        }
        queueMicrotask(nextStep);
      };
      step();
    });
    if (this.#failure) throw this.#failure.error;
  }

  #run(event: Event): void {
    try {
      event.run();
    } catch (error) {
      this.fail(error);
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || first === last) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
