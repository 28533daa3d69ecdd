// Owns the cutting of a send into batches that a queue accepts: so many messages, and so many bytes together with what the
// platform adds to each.

import type { Message } from '../lib/mirror/messages.ts';

const messageOverheadBytes = 200;

export function* cutBatches(
  messages: readonly Message[],
  { messagesMax, bytesMax }: { messagesMax: number; bytesMax: number },
): Generator<Message[]> {
  let batch: Message[] = [];
  let batchBytes = 0;
  for (const message of messages) {
    const bytes = Buffer.byteLength(JSON.stringify(message)) + messageOverheadBytes;
    if (batch.length === messagesMax || (batch.length > 0 && batchBytes + bytes > bytesMax)) {
      yield batch;
      batch = [];
      batchBytes = 0;
    }
    batch.push(message);
    batchBytes += bytes;
  }
  if (batch.length > 0) yield batch;
}
