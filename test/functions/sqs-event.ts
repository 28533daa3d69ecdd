// Owns the event by which Lambda hands a batch of a queue to a handler, for tests.

import type { SQSEvent } from 'aws-lambda';

/** Message ids count from 0. A text is the body as it is, anything else as JSON. */
export const sqsEvent = (
  queueName: string,
  bodies: readonly unknown[],
  attempts: readonly number[] = [],
): SQSEvent => ({
  Records: bodies.map((body, index) => ({
    messageId: String(index),
    receiptHandle: `receipt-${index}`,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    attributes: {
      ApproximateReceiveCount: String(attempts[index] ?? 1),
      SentTimestamp: '0',
      SenderId: 's',
      ApproximateFirstReceiveTimestamp: '0',
    },
    messageAttributes: {},
    md5OfBody: '',
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:eu-central-1:123456789012:${queueName}`,
    awsRegion: 'eu-central-1',
  })),
});
