// Owns the translation of farside's Queue to a Cloudflare Queue, which accepts at most 100 messages and 256 KB at once.

import type { Queue as QueueBinding } from '@cloudflare/workers-types';
import { FarsideError } from '../lib/errors.ts';
import type { Message, Queue } from '../lib/mirror/messages.ts';
import { delaySeconds } from '../lib/site/delivery.ts';
import { cutBatches } from './batches.ts';

const batchMax = { messagesMax: 100, bytesMax: 240_000 };

export class BoundQueue implements Queue {
  readonly #binding: QueueBinding;

  constructor(binding: QueueBinding) {
    this.#binding = binding;
  }

  /** After a failure some of the batches may have been enqueued. */
  async send(messages: readonly Message[], options: { delayMs?: number } = {}): Promise<void> {
    const delay = { delaySeconds: delaySeconds(options.delayMs ?? 0) };
    try {
      for (const batch of cutBatches(messages, batchMax)) {
        await this.#binding.sendBatch(
          batch.map((body) => ({ body, contentType: 'json' })),
          delay,
        );
      }
    } catch (cause) {
      throw new FarsideError('EAGAIN', 'the queue did not accept the messages', { retry: 'later', cause });
    }
  }
}
