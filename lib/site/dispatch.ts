// Owns what becomes of a message: the handler of its type, and the outcome of a failure. One type, one handler: the table is a
// full Record, so a new message type does not compile without one.
//
//   outcome of the handler              what the queue is told
//   returns                             what it says
//   FarsideError, retry now or later    retry, backing off with the attempts
//   FarsideError, retry never           ack; a failure record says why
//   not a message at all                ack; a failure record
//   any other throw (a bug)             thrown on: the runtime logs it and retries, and buries it in the end

import { FarsideError } from '../errors.ts';
import { collectStep } from '../image/collect/collect.ts';
import { removeStep } from '../image/remove.ts';
import { handleApply } from '../mirror/replica/apply.ts';
import { handleComplete } from '../mirror/replica/complete.ts';
import { handleDelta } from '../mirror/primary/delta.ts';
import type { MirrorDeps } from '../mirror/deps.ts';
import { recordFailure } from '../mirror/failures.ts';
import { messageSchema, type Message, type Outcome } from '../mirror/messages.ts';
import { handleFlatten } from '../mirror/replica/replica-parent.ts';
import { handleByFeature } from '../mirror/verbs/by-feature-walk.ts';
import { handlePurge } from '../mirror/schedules/purge-schedules.ts';
import { handlePoll } from '../mirror/replica/poll.ts';
import { handleSnapshot } from '../mirror/primary/snapshot.ts';
import { handleSync } from '../mirror/replica/sync.ts';
import { backOffMs } from './delivery.ts';

type Handlers = {
  [Type in Message['type']]: (deps: MirrorDeps, message: Extract<Message, { type: Type }>) => Promise<Outcome>;
};

const ack: Outcome = { kind: 'ack' };

/** Of a runtime that does not say how often it tried: 4 to 8 seconds. */
const attemptsUnknown = 4;

const handlers: Handlers = {
  snapshot: handleSnapshot,
  delta: handleDelta,
  sync: handleSync,
  apply: handleApply,
  complete: handleComplete,
  poll: handlePoll,
  collect: async (deps, message) => {
    const { next } = await collectStep(deps, message);
    if (next) await deps.queue.send([{ type: 'collect', ...next }]);
    return ack;
  },
  flatten: handleFlatten,
  purge: handlePurge,
  'by-feature': handleByFeature,
  remove: async (deps, message) => {
    if ((await removeStep(deps, message.imageId)) === 'more') await deps.queue.send([message]);
    return ack;
  },
};

export async function dispatch(deps: MirrorDeps, message: unknown, attempts = attemptsUnknown): Promise<Outcome> {
  const parsed = messageSchema.safeParse(message);
  if (!parsed.success) return give(deps, message, 'not a message that this version knows');
  try {
    return await handleTyped(deps, parsed.data);
  } catch (error) {
    if (!(error instanceof FarsideError)) throw error;
    if (error.retry === 'never') return give(deps, message, `${error.code}: ${error.message}`);
    const why = `${error.code}: ${error.message}`;
    return { kind: 'retry', delayMs: backOffMs(attempts, deps.random.fraction()), why };
  }
}

function handleTyped<Type extends Message['type']>(
  deps: MirrorDeps,
  message: Extract<Message, { type: Type }>,
): Promise<Outcome> {
  const handler: Handlers[Type] = handlers[message.type];
  return handler(deps, message);
}

/** Repeating it would not help. */
async function give(deps: MirrorDeps, message: unknown, why: string): Promise<Outcome> {
  await recordFailure(deps, message, why);
  return ack;
}
