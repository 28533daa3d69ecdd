// Owns a site of AWS's kind on this machine: the very Lambda handlers that are deployed, on any S3 server, with what stands around
// them on AWS in this process: function URL, event source mappings, schedule. Queues are a server's that speaks SQS, or in memory.
//
// Nothing is lost by a kill at any point but messages queued in memory, which the first tick after the next start makes up for.
// With SQS a message that was being handled comes back when its visibility timeout is over.

import type { Server } from 'node:http';
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { systemClock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import { systemRandom } from '../../lib/random.ts';
import { storeBodyBytesMax } from '../../lib/bucket/http-protocol.ts';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { lambdaHandlers, type LambdaHandlers } from '../../functions/lambda-handlers.ts';
import { SqsClient, type SqsApi } from '../../functions/sqs-api.ts';
import { startEventSource } from './event-source.ts';
import { checkPortFree } from './free-port.ts';
import { eventBytesMax, provideStreaming, serveFunctionUrl, type StreamingHandler } from './function-url.ts';
import { lambdaContext } from './lambda-context.ts';
import type { LocalSiteOptions, RunningSite } from './local-site.ts';
import { MemorySqs } from './sqs-memory.ts';

/** How long requests and messages under way may take to finish at a stop. */
const drainMs = 5000;
const batchesAtOnceDefault = 4;
/** As long as the longest invocation: a message is not handled twice at once. */
const visibilityTimeoutSeconds = 15 * 60;
const maxReceiveCount = deliverySettings.retriesMax + 1;

type Queues = { queueUrl: string; deadLetterQueueUrl: string; sqs: SqsApi };

/** For measurements of one invocation at a time. */
export type MeasuredInvocations = { batchesAtOnce?: number; invoked?: (durationMs: number) => void };

export async function startAwsSite(
  options: LocalSiteOptions,
  measured: MeasuredInvocations = {},
): Promise<RunningSite> {
  const { config, port, log } = options;
  provideStreaming();
  await checkPortFree(port);
  const queues = await openQueues(options);
  const handlers = lambdaHandlers({
    env: environmentOf(options, queues),
    readSecrets: async () => ({ adminTokenHash: config.adminTokenHash, secret: config.secret }),
    openSqs: () => queues.sqs,
    log,
    metric: () => undefined,
  });
  // An unfit or unreachable bucket is told before anything listens.
  await handlers.start();
  const server = await serveFunctionUrl({
    handler: handlers.http as unknown as StreamingHandler,
    port,
    bodyBytesMax: options.s3?.direct ? (eventBytesMax / 4) * 3 : storeBodyBytesMax,
    clock: systemClock,
    log,
  });
  const sources = startSources(queues, handlers, { ...options, ...measured });
  return {
    tick: (nowMs) => handlers.schedule({ time: new Date(nowMs).toISOString() }),
    stop: async () => {
      const stopped = [close(server), ...sources.map((source) => source.stop())];
      await Promise.race([Promise.all(stopped), systemClock.sleep(drainMs)]);
    },
  };
}

function environmentOf({ config, s3, sqsEndpoint }: LocalSiteOptions, queues: Queues): Record<string, string> {
  if (s3 === undefined)
    throw new FarsideError('EINVAL', 'no bucket was specified: give --s3-bucket, and --s3-endpoint unless it is AWS');
  return {
    FARSIDE_SITE_NAME: config.name,
    FARSIDE_SITE_URL: config.url,
    FARSIDE_BUCKET: s3.bucket,
    FARSIDE_QUEUE_URL: queues.queueUrl,
    FARSIDE_DEAD_LETTER_QUEUE_URL: queues.deadLetterQueueUrl,
    FARSIDE_SECRETS_PARAMETER: 'site-secrets.json',
    FARSIDE_S3_REGION: s3.region,
    FARSIDE_S3_ENDPOINT: s3.endpoint ?? '',
    FARSIDE_S3_PATH_STYLE: String(s3.pathStyle),
    FARSIDE_S3_DIRECT: String(s3.direct),
    FARSIDE_SQS_ENDPOINT: sqsEndpoint ?? '',
    FARSIDE_TUNING: JSON.stringify({ limits: config.limits, settings: config.settings }),
  };
}

async function openQueues({ config, s3, sqsEndpoint }: LocalSiteOptions): Promise<Queues> {
  const names = { queue: `farside-${config.name}`, dead: `farside-${config.name}-dead` };
  return sqsEndpoint === undefined
    ? memoryQueues(names)
    : makeQueues(names, { endpoint: sqsEndpoint, region: s3?.region ?? 'us-east-1' });
}

type QueueNames = { queue: string; dead: string };

function memoryQueues(names: QueueNames): Queues {
  const queueUrl = `http://queue.invalid/${names.queue}`;
  const deadLetterQueueUrl = `http://queue.invalid/${names.dead}`;
  const queues = {
    [queueUrl]: { visibilityTimeoutSeconds, redrive: { deadLetterQueueUrl, maxReceiveCount } },
    [deadLetterQueueUrl]: { visibilityTimeoutSeconds },
  };
  return {
    queueUrl,
    deadLetterQueueUrl,
    sqs: new MemorySqs(queues, { clock: systemClock, random: systemRandom }),
  };
}

/** Made at the first start; SQS answers a second creation with what is there. */
async function makeQueues(names: QueueNames, server: { endpoint: string; region: string }): Promise<Queues> {
  const client = new SQSClient(server);
  const VisibilityTimeout = String(visibilityTimeoutSeconds);
  const deadLetterQueueUrl = await createQueue(client, names.dead, { VisibilityTimeout });
  const found = await client.send(
    new GetQueueAttributesCommand({ QueueUrl: deadLetterQueueUrl, AttributeNames: ['QueueArn'] }),
  );
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: found.Attributes?.QueueArn, maxReceiveCount });
  const queueUrl = await createQueue(client, names.queue, { VisibilityTimeout, RedrivePolicy });
  client.destroy();
  return { queueUrl, deadLetterQueueUrl, sqs: new SqsClient(server) };
}

async function createQueue(client: SQSClient, name: string, attributes: Record<string, string>): Promise<string> {
  try {
    const made = await client.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }));
    return made.QueueUrl ?? '';
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FarsideError('EIO', `queue ${name} cannot be made: ${why}; check --sqs-endpoint and the credentials`, {
      cause,
    });
  }
}

function startSources(
  { sqs, queueUrl, deadLetterQueueUrl }: Queues,
  { consume }: LambdaHandlers,
  { log, batchesAtOnce = batchesAtOnceDefault, invoked }: LocalSiteOptions & MeasuredInvocations,
) {
  const clock = systemClock;
  const invoke = async (event: Parameters<typeof consume>[0]) => {
    const startedAtMs = clock.nowMs();
    try {
      return await consume(event, lambdaContext(clock));
    } finally {
      invoked?.(clock.nowMs() - startedAtMs);
    }
  };
  const source = { sqs, clock, log, consume: invoke };
  return [
    startEventSource({ ...source, queueUrl, batchesAtOnce }),
    startEventSource({ ...source, queueUrl: deadLetterQueueUrl, batchesAtOnce: 1 }),
  ];
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
