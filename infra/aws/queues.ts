// Owns a site's queue and the queue of its dead letters. Delivery numbers are those of every runtime (lib/site/delivery.ts).

import { Duration } from 'aws-cdk-lib';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { functionSizes, visibilityTimeouts } from './function-sizes.ts';

/** Messages only hurry work that ticks find too, so a lost one costs little; a dead letter is to be looked at. */
const messageDays = 4;
const deadLetterDays = 14;

export type Queues = { queue: Queue; deadLetters: Queue };

export function createQueues(scope: Construct): Queues {
  const shared = {
    encryption: QueueEncryption.SQS_MANAGED,
    enforceSSL: true,
    visibilityTimeout: Duration.seconds(functionSizes.consume.timeoutSeconds * visibilityTimeouts),
  };
  const deadLetters = new Queue(scope, 'DeadLetters', { ...shared, retentionPeriod: Duration.days(deadLetterDays) });
  const queue = new Queue(scope, 'Queue', {
    ...shared,
    retentionPeriod: Duration.days(messageDays),
    deadLetterQueue: { queue: deadLetters, maxReceiveCount: deliverySettings.retriesMax + 1 },
  });
  return { queue, deadLetters };
}
