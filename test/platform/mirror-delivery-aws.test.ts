// Delivery to the Lambda functions, on Ceph's S3: batches as an event source hands them over.

import { createHash } from 'node:crypto';
import type { Server, ServerResponse } from 'node:http';
import { afterAll, describe } from 'vitest';
import { lambdaHandlers } from '../../functions/lambda-handlers.ts';
import type { SqsApi } from '../../functions/sqs-api.ts';
import { startEventSource } from '../../infra/local/event-source.ts';
import { choosePort } from '../../infra/local/free-port.ts';
import {
  eventBytesMax,
  provideStreaming,
  serveFunctionUrl,
  type StreamingHandler,
} from '../../infra/local/function-url.ts';
import { MemorySqs } from '../../infra/local/sqs-memory.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { S3Driver } from '../../lib/bucket/s3.ts';
import { systemClock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { freshS3, hasRadosgw } from '../radosgw/radosgw.ts';
import { radosgwEnv, type S3Place } from '../radosgw/server.ts';
import { describeDelivery, token, tuning, type DeliverySite } from './delivery-scenarios.ts';
import { sqsEvent } from '../functions/sqs-event.ts';

const queueUrl = 'http://queue.invalid/farside';
const inTime = { getRemainingTimeInMillis: () => 900_000 };

class LambdaSite implements DeliverySite {
  readonly name: string;
  readonly url: string;
  readonly #place: S3Place;
  readonly #hasConsumer: boolean;
  #server: Server | undefined;
  #running: { handlers: ReturnType<typeof lambdaHandlers>; stop(): Promise<void> } | undefined;

  constructor(name: string, options: { port: number; place: S3Place; hasConsumer: boolean }) {
    this.name = name;
    this.url = `http://127.0.0.1:${options.port}`;
    this.#place = options.place;
    this.#hasConsumer = options.hasConsumer;
  }

  get #handlers() {
    assert(this.#running !== undefined, `${this.name} was started`);
    return this.#running.handlers;
  }

  driver(): Driver {
    return new S3Driver(this.#place);
  }

  async overwrite(key: string, bytes: Uint8Array): Promise<void> {
    await this.driver().put(key, bytes, 'none');
  }

  /** A cold start: nothing is remembered of the last one. */
  async start(): Promise<void> {
    const sqs = new MemorySqs(
      { [queueUrl]: { visibilityTimeoutSeconds: 60 } },
      { clock: systemClock, random: systemRandom },
    );
    provideStreaming();
    const handlers = lambdaHandlers({
      env: this.#environment(),
      readSecrets: async () => ({
        adminTokenHash: createHash('sha256').update(token).digest('hex'),
        secret: Buffer.alloc(32, 7).toString('base64'),
      }),
      openSqs: () => sqs,
      log: () => undefined,
      metric: () => undefined,
    });
    const source = this.#hasConsumer ? this.#consuming(sqs, handlers) : undefined;
    this.#running = { handlers, stop: async () => source?.stop() };
    this.#server ??= await serveFunctionUrl({
      handler: (...event) => this.#answer(...event),
      port: Number(new URL(this.url).port),
      bodyBytesMax: eventBytesMax,
      clock: systemClock,
      log: () => undefined,
    });
  }

  /** The port is kept while the site is stopped: nobody else may answer there. */
  async #answer(event: unknown, stream: ServerResponse, context: unknown): Promise<void> {
    if (this.#running === undefined) return void stream.destroy();
    await (this.#running.handlers.http as unknown as StreamingHandler)(event, stream, context);
  }

  #environment(): Record<string, string> {
    return {
      FARSIDE_SITE_NAME: this.name,
      FARSIDE_SITE_URL: this.url,
      FARSIDE_BUCKET: this.#place.bucket,
      FARSIDE_QUEUE_URL: queueUrl,
      FARSIDE_DEAD_LETTER_QUEUE_URL: `${queueUrl}-dead`,
      FARSIDE_SECRETS_PARAMETER: 'none',
      FARSIDE_S3_ENDPOINT: this.#place.endpoint,
      FARSIDE_S3_REGION: this.#place.region,
      FARSIDE_S3_PATH_STYLE: 'true',
      FARSIDE_S3_DIRECT: 'true',
      FARSIDE_TUNING: JSON.stringify(tuning),
    };
  }

  #consuming(sqs: SqsApi, { consume }: ReturnType<typeof lambdaHandlers>) {
    return startEventSource({
      sqs,
      queueUrl,
      batchesAtOnce: 2,
      consume: (event) => consume(event, inTime),
      clock: systemClock,
      log: () => undefined,
    });
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.stop();
  }

  end(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  async deliver(...bodies: Message[]): Promise<number> {
    const { batchItemFailures } = await this.#handlers.consume(sqsEvent('farside', bodies), inTime);
    return batchItemFailures.length;
  }

  async tick(): Promise<void> {
    await this.#handlers.schedule({});
  }
}

describe.skipIf(!hasRadosgw())('on a real server:', () => {
  const sites: LambdaSite[] = [];
  describeDelivery('the Lambda functions', async () => {
    Object.assign(process.env, radosgwEnv);
    const site = async (name: string, hasConsumer: boolean): Promise<LambdaSite> =>
      new LambdaSite(name, { port: await choosePort(systemRandom), place: await freshS3(), hasConsumer });
    const [a, b] = [await site('site-a', true), await site('site-b', false)];
    sites.push(a, b);
    return { a, b };
  });
  afterAll(() => {
    for (const site of sites) site.end();
  });
});
