// Owns the translation of farside's Queue to SQS.

import pLimit from 'p-limit';

import type { Message, Queue } from '../lib/mirror/messages.ts';
import { delaySeconds } from '../lib/site/delivery.ts';
import { cutBatches } from './batches.ts';
import { sqsBatchMax, type SqsApi } from './sqs-api.ts';

/** SQS takes 1 MiB at once; servers that imitate it may still take 256 KiB. */
const batchMax = { messagesMax: sqsBatchMax, bytesMax: 240_000 };
const batchesAtOnceMax = 8;

export class SqsQueue implements Queue {
  readonly #api: SqsApi;
  readonly #queueUrl: string;

  constructor(api: SqsApi, queueUrl: string) {
    this.#api = api;
    this.#queueUrl = queueUrl;
  }

  /** After a failure some of the messages may have been enqueued. */
  async send(messages: readonly Message[], options: { delayMs?: number } = {}): Promise<void> {
    const limit = pLimit(batchesAtOnceMax);
    const seconds = delaySeconds(options.delayMs ?? 0);
    const sends = [...cutBatches(messages, batchMax)].map((batch) =>
      limit(() =>
        this.#api.send(
          this.#queueUrl,
          batch.map((message) => JSON.stringify(message)),
          seconds,
        ),
      ),
    );
    await Promise.all(sends);
  }
}
