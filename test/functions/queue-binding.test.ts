import type { Queue as QueueBinding, QueueSendBatchOptions } from '@cloudflare/workers-types';
import { expect, test } from 'vitest';
import { cutBatches } from '../../functions/batches.ts';
import { BoundQueue } from '../../functions/queue-binding.ts';
import type { Message } from '../../lib/mirror/messages.ts';

const poll = (peerUuid: string): Message => ({ type: 'poll', pool: 'rbd', peerUuid });

const batchMax = { messagesMax: 100, bytesMax: 240_000 };

function recordingBinding(sent: { bodies: unknown[]; options: QueueSendBatchOptions | undefined }[]): QueueBinding {
  const metadata = { metrics: { backlogCount: 0, backlogBytes: 0 } };
  return {
    metrics: async () => ({ backlogCount: 0, backlogBytes: 0 }),
    send: async () => ({ metadata }),
    sendBatch: async (batch, options) => {
      sent.push({ bodies: [...batch].map(({ body }) => body), options });
      return { metadata };
    },
  };
}

test('a send is cut at 100 messages, and keeps all of them in order', () => {
  const messages = Array.from({ length: 250 }, (_, index) => poll(String(index)));
  const batches = [...cutBatches(messages, batchMax)];
  expect(batches.map((batch) => batch.length)).toEqual([100, 100, 50]);
  expect(batches.flat()).toEqual(messages);
});

test('a send is cut below 256 KB', () => {
  const messages = Array.from({ length: 10 }, () => poll('x'.repeat(60_000)));
  expect([...cutBatches(messages, batchMax)].map((batch) => batch.length)).toEqual([3, 3, 3, 1]);
});

test('nothing to send makes no request', async () => {
  const sent: never[] = [];
  await new BoundQueue(recordingBinding(sent)).send([]);
  expect(sent).toEqual([]);
});

test('a delay is sent in whole seconds, rounded up', async () => {
  const sent: { bodies: unknown[]; options: QueueSendBatchOptions | undefined }[] = [];
  await new BoundQueue(recordingBinding(sent)).send([poll('a')], { delayMs: 1500 });
  expect(sent).toEqual([{ bodies: [poll('a')], options: { delaySeconds: 2 } }]);
});

test('a queue that refuses is EAGAIN, for later', async () => {
  const binding: QueueBinding = {
    ...recordingBinding([]),
    sendBatch: () => Promise.reject(new Error('Too Many Requests')),
  };
  await expect(new BoundQueue(binding).send([poll('a')])).rejects.toMatchObject({ code: 'EAGAIN', retry: 'later' });
});
