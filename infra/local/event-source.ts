// Owns what Lambda's event source mapping does on AWS: receives batches from a queue, invokes the handler, deletes what did not
// fail. A batch whose handler throws is deleted in no part. Several batches are under way at once.

import type { SQSBatchResponse, SQSEvent } from 'aws-lambda';
import type { Clock } from '../../lib/clock.ts';
import { describeFailure } from '../../lib/site/delivery.ts';
import type { SqsApi, SqsMessage } from '../../functions/sqs-api.ts';

const waitSeconds = 2;
const afterFailureMs = 1000;

export type EventSource = {
  sqs: SqsApi;
  queueUrl: string;
  batchesAtOnce: number;
  consume: (event: SQSEvent) => Promise<SQSBatchResponse>;
  clock: Clock;
  log: (line: string) => void;
};

/** Resolves, once stopped, when the last batch is settled. */
export function startEventSource(source: EventSource): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const poll = async (): Promise<void> => {
    while (!stopping.signal.aborted) await pollOnce(source);
  };
  const pollers = Array.from({ length: source.batchesAtOnce }, poll);
  return {
    stop: async () => {
      stopping.abort();
      await Promise.all(pollers);
    },
  };
}

async function pollOnce(source: EventSource): Promise<void> {
  const { sqs, queueUrl, consume } = source;
  try {
    const messages = await sqs.receive(queueUrl, waitSeconds);
    if (messages.length === 0) return;
    const { batchItemFailures } = await consume({ Records: messages.map((message) => recordOf(message, queueUrl)) });
    const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
    const done = messages.filter(({ messageId }) => !failed.has(messageId));
    await sqs.delete(
      queueUrl,
      done.map(({ receiptHandle }) => receiptHandle),
    );
  } catch (cause) {
    source.log(`a batch of ${queueUrl} failed: ${describeFailure(cause)}`);
    await source.clock.sleep(afterFailureMs);
  }
}

const recordOf = (message: SqsMessage, queueUrl: string): SQSEvent['Records'][number] => ({
  messageId: message.messageId,
  receiptHandle: message.receiptHandle,
  body: message.body,
  attributes: {
    ApproximateReceiveCount: String(message.receiveCount),
    SentTimestamp: '0',
    SenderId: 'local',
    ApproximateFirstReceiveTimestamp: '0',
  },
  messageAttributes: {},
  md5OfBody: '',
  eventSource: 'aws:sqs',
  eventSourceARN: `arn:aws:sqs:local:000000000000:${queueUrl.split('/').at(-1)}`,
  awsRegion: 'local',
});
