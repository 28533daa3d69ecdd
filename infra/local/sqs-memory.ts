// Owns SQS in this process, for a site that has none: delays, visibility timeouts, receive counts, redrive to the dead-letter
// queue, at least once. Everything that waits is lost when the process ends; the next tick finds the work again.

import type { Clock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import { sqsBatchMax, type SqsApi, type SqsMessage } from '../../functions/sqs-api.ts';

export type MemorySqsQueue = {
  visibilityTimeoutSeconds: number;
  /** Where a message goes that was received so often. */
  redrive?: { deadLetterQueueUrl: string; maxReceiveCount: number };
};

type Held = { messageId: string; body: string; visibleAtMs: number; receiveCount: number; receiptHandle: string };

/** How often a waiting receive looks again; a send wakes it at once. */
const lookEveryMs = 200;
const backlogMessagesMax = 200_000;

export class MemorySqs implements SqsApi {
  readonly #deps: { clock: Clock; random: Random };
  readonly #queues: ReadonlyMap<string, MemorySqsQueue & { held: Held[] }>;
  #sent = Promise.withResolvers<void>();

  constructor(queues: Record<string, MemorySqsQueue>, deps: { clock: Clock; random: Random }) {
    this.#deps = deps;
    this.#queues = new Map(Object.entries(queues).map(([url, queue]) => [url, { ...queue, held: [] }]));
  }

  async send(queueUrl: string, bodies: readonly string[], delaySeconds: number): Promise<void> {
    const { held } = this.#queue(queueUrl);
    if (held.length + bodies.length > backlogMessagesMax)
      throw new FarsideError('EAGAIN', `the queue holds ${held.length} messages and takes no more`, { retry: 'later' });
    const visibleAtMs = this.#deps.clock.nowMs() + delaySeconds * 1000;
    for (const body of bodies)
      held.push({ messageId: this.#deps.random.uuid(), body, visibleAtMs, receiveCount: 0, receiptHandle: '' });
    this.#sent.resolve();
    this.#sent = Promise.withResolvers<void>();
  }

  async receive(queueUrl: string, waitSeconds: number): Promise<SqsMessage[]> {
    const { clock } = this.#deps;
    const untilMs = clock.nowMs() + waitSeconds * 1000;
    for (;;) {
      const messages = this.#take(queueUrl);
      const leftMs = untilMs - clock.nowMs();
      if (messages.length > 0 || leftMs <= 0) return messages;
      await Promise.race([clock.sleep(Math.min(lookEveryMs, leftMs)), this.#sent.promise]);
    }
  }

  async delete(queueUrl: string, receiptHandles: readonly string[]): Promise<void> {
    const { held } = this.#queue(queueUrl);
    for (const receiptHandle of receiptHandles) {
      const index = held.findIndex((message) => message.receiptHandle === receiptHandle);
      if (index >= 0) held.splice(index, 1);
    }
  }

  async hide(queueUrl: string, messages: readonly { receiptHandle: string; seconds: number }[]): Promise<void> {
    const { held } = this.#queue(queueUrl);
    for (const { receiptHandle, seconds } of messages) {
      const message = held.find((one) => one.receiptHandle === receiptHandle);
      if (message) message.visibleAtMs = this.#deps.clock.nowMs() + seconds * 1000;
    }
  }

  /** A receipt is good until the next receive of the same message. */
  #take(queueUrl: string): SqsMessage[] {
    const queue = this.#queue(queueUrl);
    const nowMs = this.#deps.clock.nowMs();
    this.#redrive(queue, nowMs);
    const visible = queue.held.filter((message) => message.visibleAtMs <= nowMs).slice(0, sqsBatchMax);
    return visible.map((message) => {
      message.visibleAtMs = nowMs + queue.visibilityTimeoutSeconds * 1000;
      message.receiveCount += 1;
      message.receiptHandle = this.#deps.random.uuid();
      const { messageId, receiptHandle, body, receiveCount } = message;
      return { messageId, receiptHandle, body, receiveCount };
    });
  }

  #redrive({ held, redrive }: MemorySqsQueue & { held: Held[] }, nowMs: number): void {
    if (!redrive) return;
    const isSpent = (message: Held): boolean =>
      message.visibleAtMs <= nowMs && message.receiveCount >= redrive.maxReceiveCount;
    for (const message of held.filter(isSpent)) {
      held.splice(held.indexOf(message), 1);
      this.#queue(redrive.deadLetterQueueUrl).held.push({ ...message, receiveCount: 0, receiptHandle: '' });
    }
  }

  #queue(queueUrl: string): MemorySqsQueue & { held: Held[] } {
    const queue = this.#queues.get(queueUrl);
    if (!queue) throw new FarsideError('ENOENT', `there is no queue ${queueUrl}`);
    return queue;
  }
}
