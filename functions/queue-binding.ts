// Owns the translation of farside's Queue to a Cloudflare Queue. A send is cut into batches that the platform accepts: at most
// 100 messages and 256 KB together, with room for what the platform adds to each message.

import type { MessageSendRequest, Queue as QueueBinding } from '@cloudflare/workers-types';
import { FarsideError } from '../lib/errors.ts';
import type { Message, Queue } from '../lib/mirror/messages.ts';
import { delaySeconds } from '../lib/site/delivery.ts';

const batchMessagesMax = 100;
const batchBytesMax = 240_000;
const messageOverheadBytes = 200;

export class BoundQueue implements Queue {
  readonly #binding: QueueBinding;

  constructor(binding: QueueBinding) {
    this.#binding = binding;
  }

  /** After a failure some of the batches may have been enqueued. */
  async send(messages: readonly Message[], options: { delayMs?: number } = {}): Promise<void> {
    const delay = { delaySeconds: delaySeconds(options.delayMs ?? 0) };
    try {
      for (const batch of cutBatches(messages)) await this.#binding.sendBatch(batch, delay);
    } catch (cause) {
      throw new FarsideError('EAGAIN', 'the queue did not accept the messages', { retry: 'later', cause });
    }
  }
}

export function* cutBatches(messages: readonly Message[]): Generator<MessageSendRequest[]> {
  let batch: MessageSendRequest[] = [];
  let batchBytes = 0;
  for (const body of messages) {
    const bytes = new TextEncoder().encode(JSON.stringify(body)).length + messageOverheadBytes;
    if (batch.length === batchMessagesMax || (batch.length > 0 && batchBytes + bytes > batchBytesMax)) {
      yield batch;
      batch = [];
      batchBytes = 0;
    }
    batch.push({ body, contentType: 'json' });
    batchBytes += bytes;
  }
  if (batch.length > 0) yield batch;
}
