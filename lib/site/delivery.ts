// Owns the numbers and rules of message delivery, so that every runtime (Worker, node) delivers alike: how often, how many at
// once, how long until the next attempt, and what becomes of a handler that throws.
//
// Promised: `deliver` never throws, so one bad message cannot take its batch back with it. The last attempt that fails puts its
// error on record and takes the message off the queue. The platform's own dead letters are for what nobody could record: an
// invocation that was killed, a bucket that was away.
// Not promised: order, or exactly once. Messages are wake-ups; the tick finds the same work without them.

import { FarsideError } from '../errors.ts';
import type { Outcome } from '../mirror/messages.ts';
import type { Random } from '../random.ts';

/** `wrangler.toml` repeats these numbers; a test compares the two. */
export const deliverySettings = {
  /** Messages handed to one invocation. */
  batchMessagesMax: 10,
  /** How long a batch waits to fill, seconds. None: a pipeline of five hops would otherwise wait five times. */
  batchWaitSeconds: 0,
  /** Attempts after the first, before the message goes to the dead-letter queue. */
  retriesMax: 10,
  /** Delay of a retry that names none, seconds: only after a crash of the whole invocation. */
  retryDelaySeconds: 5,
  deadLetterRetriesMax: 20,
  deadLetterRetryDelaySeconds: 60,
} as const;

const backOffFirstMs = 1000;
const backOffMaxMs = 5 * 60 * 1000;

/** SQS delays a message that is sent by at most 15 minutes (Cloudflare Queues by 12 hours). */
export const delaySecondsMax = 15 * 60;

/** What delivery needs of a Site. */
export type Consumer = {
  /** `attempts`: this one included. */
  handle(message: unknown, attempts: number): Promise<Outcome>;
  deadLetter(message: unknown, why: string): Promise<void>;
};

/** Exponential with jitter: half to all of 1 s, 2 s, 4 s … at most 5 minutes. `attempts` counts from 1. */
export function backOffMs(attempts: number, fraction: number): number {
  const ceilingMs = Math.min(backOffMaxMs, backOffFirstMs * 2 ** Math.min(attempts - 1, 30));
  return Math.round((ceilingMs * (1 + fraction)) / 2);
}

/** Whole seconds, as queues want them: never early, never beyond what they accept. */
export function delaySeconds(delayMs: number): number {
  return Math.min(delaySecondsMax, Math.max(0, Math.ceil(delayMs / 1000)));
}

export type Delivery = { body: unknown; attempts: number };
export type DeliveryDeps = { random: Random; log: (line: string) => void };
export type DeliveryOptions = { retriesMax: number };

/** Hands one message to the site. A throw becomes a retry with back-off, and a line in the log; the last one a record. */
export async function deliver(
  consumer: Consumer,
  delivery: Delivery,
  deps: DeliveryDeps,
  { retriesMax }: DeliveryOptions = deliverySettings,
): Promise<Outcome> {
  const outcome = await attempt(consumer, delivery, deps);
  if (outcome.kind === 'ack' || delivery.attempts <= retriesMax) return outcome;
  const last = outcome.why === undefined ? '' : `; the last said: ${outcome.why}`;
  return (await bury(consumer, delivery.body, `${notHandled(delivery.attempts)}${last}`, deps))
    ? { kind: 'ack' }
    : outcome;
}

async function attempt(consumer: Consumer, delivery: Delivery, deps: DeliveryDeps): Promise<Outcome> {
  try {
    return await consumer.handle(delivery.body, delivery.attempts);
  } catch (cause) {
    const why = describeFailure(cause);
    deps.log(`${describeMessage(delivery.body)} failed (attempt ${delivery.attempts}): ${why}`);
    return { kind: 'retry', delayMs: backOffMs(delivery.attempts, deps.random.fraction()), why };
  }
}

const notHandled = (attempts: number): string => `not handled after ${attempts} attempts`;

/** A message that its platform gave up, wherever it died. False: it has to be tried again. */
export const deliverDeadLetter = (
  consumer: Consumer,
  body: unknown,
  deps: Pick<DeliveryDeps, 'log'>,
): Promise<boolean> => bury(consumer, body, notHandled(deliverySettings.retriesMax + 1), deps);

/** Whether it could be recorded. */
async function bury(
  consumer: Consumer,
  body: unknown,
  why: string,
  { log }: Pick<DeliveryDeps, 'log'>,
): Promise<boolean> {
  try {
    await consumer.deadLetter(body, why);
    return true;
  } catch (cause) {
    log(`a dead letter could not be recorded: ${describeFailure(cause)}`);
    return false;
  }
}

/** One line for a log: the errno code and message of a failure, the stack of a bug. */
export function describeFailure(cause: unknown): string {
  if (cause instanceof FarsideError) return `${cause.code}: ${cause.message}`;
  if (cause instanceof Error) return cause.stack ?? cause.message;
  // An object's own text may throw in its turn.
  return typeof cause === 'string' ? cause : `a thrown ${Object.prototype.toString.call(cause)}`;
}

/** The type of a message and no more: bodies may be large. */
function describeMessage(body: unknown): string {
  const type = typeof body === 'object' && body !== null && 'type' in body ? body.type : undefined;
  return typeof type === 'string' ? `message '${type.slice(0, 40)}'` : 'a message of unknown type';
}
