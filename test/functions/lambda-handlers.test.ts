// The Lambda handlers as AWS calls them, on a real S3: events in, settled messages, recorded failures and HTTP answers out.

import { createHash } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lambdaHandlers, type LambdaHandlers } from '../../functions/lambda-handlers.ts';
import type { LambdaSecrets } from '../../functions/lambda-secrets.ts';
import type { SqsApi } from '../../functions/sqs-api.ts';
import { provideStreaming, serveFunctionUrl, type StreamingHandler } from '../../infra/local/function-url.ts';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { S3Driver } from '../../lib/bucket/s3.ts';
import { systemClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { freshS3, hasRadosgw } from '../radosgw/radosgw.ts';
import { radosgwEnv, type S3Place } from '../radosgw/server.ts';
import { sqsEvent } from './sqs-event.ts';

const adminToken = 'fs_admin_test';
const secret = Buffer.alloc(32, 7).toString('base64');
const queue = 'https://sqs.eu-central-1.amazonaws.com/123456789012/farside';
const bodyBytesMax = 1024 * 1024;
const minute = 60_000;

const lines: string[] = [];
const metrics: string[] = [];
const hidden: unknown[] = [];

const sqs: SqsApi = {
  send: async () => undefined,
  receive: async () => [],
  delete: async () => undefined,
  hide: async (queueUrl, messages) => void hidden.push(...messages.map((message) => ({ queueUrl, ...message }))),
};

const secrets = { adminTokenHash: createHash('sha256').update(adminToken).digest('hex'), secret };

function handlersWith(env: Record<string, string>, known: LambdaSecrets = secrets): LambdaHandlers {
  provideStreaming();
  return lambdaHandlers({
    env,
    readSecrets: async () => known,
    openSqs: () => sqs,
    log: (line) => void lines.push(line),
    metric: (line) => void metrics.push(line),
  });
}

const environmentOf = (place: S3Place): Record<string, string> => ({
  FARSIDE_SITE_NAME: 'site-b',
  FARSIDE_SITE_URL: 'https://site-b.example',
  FARSIDE_BUCKET: place.bucket,
  FARSIDE_QUEUE_URL: queue,
  FARSIDE_DEAD_LETTER_QUEUE_URL: `${queue}-dead`,
  FARSIDE_SECRETS_PARAMETER: '/farside/site-b',
  FARSIDE_S3_ENDPOINT: place.endpoint,
  FARSIDE_S3_PATH_STYLE: 'true',
  FARSIDE_S3_REGION: place.region,
  FARSIDE_S3_DIRECT: 'true',
});

const failed = (...ids: number[]) => ({ batchItemFailures: ids.map((id) => ({ itemIdentifier: String(id) })) });
const idle = { type: 'remove', imageId: 'ab'.repeat(12) };
const inTime = { getRemainingTimeInMillis: () => 15 * minute };

describe.skipIf(!hasRadosgw())('Lambda handlers', () => {
  let place: S3Place;
  let bucket: Bucket;
  let handlers: LambdaHandlers;
  let server: Server;
  let url: string;

  beforeAll(async () => {
    Object.assign(process.env, radosgwEnv);
    place = await freshS3();
    bucket = new Bucket(new S3Driver(place), { clock: systemClock, random: systemRandom });
    handlers = handlersWith(environmentOf(place));
    server = await serveFunctionUrl({
      handler: handlers.http as unknown as StreamingHandler,
      port: 0,
      bodyBytesMax,
      clock: systemClock,
      log: (line) => void lines.push(line),
    });
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server?.closeAllConnections();
    server?.close();
  });

  const call = (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${adminToken}`);
    return fetch(`${url}${path}`, { ...init, headers });
  };
  const failures = async (): Promise<{ type: string; why: string }[]> => (await call('/v1/failures')).json();

  test('http answers, says where the bucket is, and keeps encoded names apart', async () => {
    const site = await (await call('/v1/site')).json();
    expect(site).toMatchObject({ name: 'site-b', url: 'https://site-b.example', platform: 'aws' });
    expect(site.store).toEqual({
      kind: 's3',
      bucket: place.bucket,
      region: place.region,
      endpoint: place.endpoint,
      pathStyle: true,
    });
    expect((await call('/v1/pools', json({ name: 'rbd' }))).ok).toBe(true);
    expect((await call('/v1/pools/rbd/images', json({ name: 'a?b%20c', sizeBytes: 0 }))).ok).toBe(true);
    const found = await (await call(`/v1/pools/rbd/images/${encodeURIComponent('a?b%20c')}`)).json();
    expect(found).toMatchObject({ name: 'a?b%20c' });
    expect((await call('/v1/pools/rbd', { method: 'DELETE' })).status).toBe(409);
  });

  test('http passes on empty answers, refuses strangers, and takes no body that an event cannot hold', async () => {
    expect((await call('/v1/failures', { method: 'DELETE' })).status).toBe(204);
    expect((await fetch(`${url}/v1/site`)).status).toBe(401);
    const large = await call('/v1/store/x', { method: 'PUT', body: new Uint8Array(bodyBytesMax + 1) });
    expect([large.status, await large.json()]).toMatchObject([413, { error: { code: 'EFBIG' } }]);
  });

  test('without an admin token http answers nobody and says why in the log; consume and schedule need none', async () => {
    const closed = handlersWith(environmentOf(place), { secret });
    const other = await serveFunctionUrl({
      handler: closed.http as unknown as StreamingHandler,
      port: 0,
      bodyBytesMax,
      clock: systemClock,
      log: (line) => void lines.push(line),
    });
    const { port } = other.address() as AddressInfo;
    for (const headers of [{}, { authorization: 'Bearer undefined' }])
      expect((await fetch(`http://127.0.0.1:${port}/v1/site`, { headers })).status).toBe(500);
    expect(lines.join('\n')).toContain('neither is adminTokenHash among its secrets');
    other.closeAllConnections();
    other.close();
    await closed.schedule({});
    expect(await closed.consume(sqsEvent('farside', [idle]), inTime)).toEqual(failed());
  });

  test('consume settles each message by itself: done, on record, or back with a delay of its own', async () => {
    const answer = await handlers.consume(sqsEvent('farside', [idle, { type: 'nonsense' }, 'no json']), inTime);
    expect(answer).toEqual(failed());
    expect((await failures()).map(({ type }) => type).toSorted()).toEqual(['nonsense', 'unknown']);
    expect(hidden.splice(0)).toEqual([]);
  });

  test('consume: dead letters are put on record', async () => {
    const letter = { type: 'poll', pool: 'rbd', peerUuid: 'p' };
    expect(await handlers.consume(sqsEvent('farside-dead', [letter]), inTime)).toEqual(failed());
    expect((await failures()).map(({ type }) => type)).toContain('poll');
  });

  test('consume hands back what it has no time to begin', async () => {
    let leftMs = 10 * minute;
    const running = { getRemainingTimeInMillis: () => (leftMs -= 4 * minute) };
    const answer = await handlers.consume(sqsEvent('farside', [idle, idle, idle]), running);
    expect(answer).toEqual(failed(1, 2));
    expect(hidden.splice(0)).toEqual([
      { queueUrl: queue, receiptHandle: 'receipt-1', seconds: 0 },
      { queueUrl: queue, receiptHandle: 'receipt-2', seconds: 0 },
    ]);
  });

  test('schedule ticks, and tells CloudWatch how far replicas are behind', async () => {
    await handlers.schedule({ time: '2026-11-26T09:00:00Z' });
    expect(await bucket.head(keyText({ kind: 'heartbeat' }))).toBeDefined();
    expect(JSON.parse(metrics.at(-1)!)).toMatchObject({ Site: 'site-b', PeersUnreachable: 0 });
  });

  test('a site that cannot start is retried message by message with growing delays; the last attempt goes on to the dead letters', async () => {
    const lost = handlersWith({ ...environmentOf(place), FARSIDE_BUCKET: 'no-such-bucket' });
    const told = sqsEvent('farside', [idle, idle, idle], [1, 5, 11]);
    expect(await lost.consume(told, inTime)).toEqual(failed(0, 1, 2));
    const seconds = (hidden.splice(0) as { seconds: number }[]).map((one) => one.seconds);
    expect(seconds[0]).toBe(1);
    expect(seconds[1]).toBeGreaterThan(4);
    expect(lines.join('\n')).toContain("S3 put 'probe/");
    expect(await lost.consume(sqsEvent('farside-dead', [idle]), inTime)).toEqual(failed(0));
    expect(hidden.splice(0)).toEqual([{ queueUrl: `${queue}-dead`, receiptHandle: 'receipt-0', seconds: 60 }]);
    await expect(lost.schedule({})).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a wrong environment is told by every handler, with the name of what is wrong and without secrets', async () => {
    const wrong = handlersWith({ ...environmentOf(place), FARSIDE_QUEUE_URL: 'x' });
    const why = { code: 'EINVAL', message: expect.stringContaining('FARSIDE_QUEUE_URL must be') };
    await expect(wrong.schedule({})).rejects.toMatchObject(why);
    await expect(wrong.consume(sqsEvent('farside', [idle]), inTime)).rejects.toMatchObject(why);
    expect(lines.join('\n')).not.toContain(secret);
  });

  test('without a URL of its own http takes the domain name of the request', async () => {
    const unnamed = handlersWith({ ...environmentOf(place), FARSIDE_SITE_URL: '' });
    await expect(unnamed.schedule({})).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('FARSIDE_SITE_URL'),
    });
    const other = await serveFunctionUrl({
      handler: unnamed.http as unknown as StreamingHandler,
      port: 0,
      bodyBytesMax,
      clock: systemClock,
      log: () => undefined,
    });
    const host = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const answer = await fetch(`http://${host}/v1/site`, { headers: { authorization: `Bearer ${adminToken}` } });
    expect(await answer.json()).toMatchObject({ url: `https://${host}` });
    other.closeAllConnections();
    other.close();
  });
});

const json = (value: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});
