// Owns the three Lambda handlers of a site: they decode the event, call Site, answer. All of a cold start's work (environment,
// secrets, Site) is done by the first event and kept for the next ones; what failed is tried again by the next event.
//
//   http       a function URL's request; the answer is streamed, so that none is too large to be buffered
//   schedule   a tick
//   consume    a batch of messages, or of dead letters. Each is settled by itself: what failed is named in the answer, and comes
//              back when its visibility says so, not when its batch's does
//
// A batch that has used half of its invocation's time hands back the messages that it has not begun.

import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { streamHandle } from 'hono/aws-lambda';
import { systemClock } from '../lib/clock.ts';
import { FarsideError } from '../lib/errors.ts';
import { systemRandom } from '../lib/random.ts';
import { delaySeconds, deliver, deliverDeadLetter, deliverySettings, describeFailure } from '../lib/site/delivery.ts';
import type { Site } from '../lib/site/site.ts';
import { parseLambdaEnv, type LambdaEnv } from './lambda-env.ts';
import type { LambdaSecrets } from './lambda-secrets.ts';
import { buildSite } from './lambda-site.ts';
import { metricLine } from './metrics.ts';
import type { SqsApi } from './sqs-api.ts';

export type LambdaParts = {
  env: Record<string, string | undefined>;
  readSecrets(env: LambdaEnv): Promise<LambdaSecrets>;
  openSqs(env: LambdaEnv): SqsApi;
  /** Lines for the operator. */
  log: (line: string) => void;
  /** Lines of CloudWatch's embedded metric format. */
  metric: (line: string) => void;
};

type Warm = { env: LambdaEnv; secrets: LambdaSecrets; sqs: SqsApi; site?: Site };
/** The part of a function URL's request context that is used. */
type UrlContext = { requestContext?: { domainName?: string } };

export type LambdaHandlers = ReturnType<typeof lambdaHandlers>;

export function lambdaHandlers(parts: LambdaParts) {
  const warm = new WarmSite(parts);
  return {
    http: streamHandle({ fetch: (request: Request, context: UrlContext) => answer(warm, request, context) } as App),
    schedule: (event: unknown): Promise<void> => runTick(warm, event),
    consume: (event: SQSEvent, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<SQSBatchResponse> =>
      settleBatch(warm, event, context),
    /** Happens by itself; for whoever wants to know early whether the site can run. */
    start: async (): Promise<void> => (await warm.site()).start(),
  };
}

/** `streamHandle` asks for a whole Hono app and calls `fetch` alone. */
type App = Parameters<typeof streamHandle>[0];

class WarmSite {
  readonly parts: LambdaParts;
  #warm: Warm | undefined;

  constructor(parts: LambdaParts) {
    this.parts = parts;
  }

  async open(): Promise<Warm> {
    if (this.#warm) return this.#warm;
    const env = parseLambdaEnv(this.parts.env);
    const secrets = await this.parts.readSecrets(env);
    return (this.#warm ??= { env, secrets, sqs: this.parts.openSqs(env) });
  }

  async site(url?: string): Promise<Site> {
    const warm = await this.open();
    const { log } = this.parts;
    return (warm.site ??= buildSite({ ...warm, region: this.parts.env['AWS_REGION'], log }, url));
  }
}

async function answer(warm: WarmSite, request: Request, { requestContext }: UrlContext): Promise<Response> {
  try {
    if ((await warm.open()).secrets.adminTokenHash === undefined) throw noAdmin();
    const domainName = requestContext?.domainName;
    return await (await warm.site(domainName && `https://${domainName}`)).fetch(request);
  } catch (cause) {
    warm.parts.log(describeFailure(cause));
    return Response.json(
      { error: { code: 'EIO', message: 'this site cannot answer: its log says why' } },
      { status: 500 },
    );
  }
}

const noAdmin = (): FarsideError =>
  new FarsideError(
    'EINVAL',
    'this site is not configured: neither is adminTokenHash among its secrets, nor does FARSIDE_ADMIN_TOKEN_PARAMETER name the admin token',
  );

async function runTick(warm: WarmSite, event: unknown): Promise<void> {
  const nowMs = systemClock.nowMs();
  const site = await warm.site();
  await site.tick(scheduledMs(event) ?? nowMs);
  const { env } = await warm.open();
  warm.parts.metric(metricLine(env.FARSIDE_SITE_NAME, await site.lag(), nowMs));
}

function scheduledMs(event: unknown): number | undefined {
  const time = typeof event === 'object' && event !== null && 'time' in event ? event.time : undefined;
  const scheduledAtMs = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return Number.isNaN(scheduledAtMs) ? undefined : scheduledAtMs;
}

/** When a message that came back is to be seen again; at once when it was not begun. */
type Returned = { record: SQSRecord; seconds: number };

async function settleBatch(
  warm: WarmSite,
  { Records }: SQSEvent,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<SQSBatchResponse> {
  const { env, sqs } = await warm.open();
  const isDead = queueName(Records[0]?.eventSourceARN ?? '', ':') === queueName(env.FARSIDE_DEAD_LETTER_QUEUE_URL, '/');
  const timeMs = context.getRemainingTimeInMillis();
  const returned: Returned[] = [];
  // One after the other: a message may fill the memory that a function has by itself.
  for (const [index, record] of Records.entries()) {
    const isLate = index > 0 && context.getRemainingTimeInMillis() < timeMs / 2;
    const seconds = isLate ? 0 : await (isDead ? settleDeadLetter(warm, record) : settleMessage(warm, record));
    if (seconds !== undefined) returned.push({ record, seconds });
  }
  await hide(warm, sqs, isDead ? env.FARSIDE_DEAD_LETTER_QUEUE_URL : env.FARSIDE_QUEUE_URL, returned);
  return { batchItemFailures: returned.map(({ record }) => ({ itemIdentifier: record.messageId })) };
}

const queueName = (address: string, separator: string): string | undefined => address.split(separator).at(-1);

/** Undefined: done with. Else when to try again. */
async function settleMessage(warm: WarmSite, record: SQSRecord): Promise<number | undefined> {
  const consumer = {
    handle: async (body: unknown, attempts: number) => (await warm.site()).handle(body, attempts),
    deadLetter: async (body: unknown, why: string) => (await warm.site()).deadLetter(body, why),
  };
  const delivery = { body: bodyOf(record), attempts: Number(record.attributes.ApproximateReceiveCount) || 1 };
  const outcome = await deliver(consumer, delivery, { random: systemRandom, log: warm.parts.log });
  return outcome.kind === 'ack' ? undefined : delaySeconds(outcome.delayMs);
}

async function settleDeadLetter(warm: WarmSite, record: SQSRecord): Promise<number | undefined> {
  const site = await warm.site();
  return (await deliverDeadLetter(site, bodyOf(record), warm.parts))
    ? undefined
    : deliverySettings.deadLetterRetryDelaySeconds;
}

/** What is no JSON is no message: the site puts it on record as it is. */
function bodyOf({ body }: SQSRecord): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

/** A message whose visibility cannot be set comes back when the queue's own timeout is over. */
async function hide(warm: WarmSite, sqs: SqsApi, queueUrl: string, returned: readonly Returned[]): Promise<void> {
  try {
    const messages = returned.map(({ record, seconds }) => ({ receiptHandle: record.receiptHandle, seconds }));
    await sqs.hide(queueUrl, messages);
  } catch (cause) {
    warm.parts.log(`retries come late: ${describeFailure(cause)}`);
  }
}
