// The Worker itself in workerd: how it settles messages one by one, and what becomes of one that is never handled.

import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deadLetterQueueName, miniflareOptions, queueName } from '../../infra/local/miniflare-site.ts';
import { bundleWorker } from '../../infra/local/worker-bundle.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { waitUntil } from './sites.ts';

const adminToken = 'fs_admin_test';
const imageId = 'ab'.repeat(16);
/** Nothing is left to do for it. */
const idle = { type: 'remove', imageId };
/** Of no version of farside. */
const nonsense = { type: 'nonsense' };

const directory = mkdtempSync(join(tmpdir(), 'farside worker '));
const lines: string[] = [];
let miniflare: Miniflare;
let worker: Awaited<ReturnType<Miniflare['getWorker']>>;

beforeAll(async () => {
  const config = {
    name: 'site-a',
    url: 'http://127.0.0.1:1',
    platform: 'miniflare',
    adminTokenHash: createHash('sha256').update(adminToken).digest('hex'),
    secret: Buffer.alloc(32, 7).toString('base64'),
  };
  const log = (line: string): void => void lines.push(line);
  const options = miniflareOptions({ directory, port: 0, config, log }, await bundleWorker());
  const consumers = options['queueConsumers'] as Record<string, { maxRetries: number }>;
  consumers[queueName] = { ...consumers[queueName], maxRetries: 1 };
  miniflare = new Miniflare(convertV4MiniflareOptions(options));
  worker = await miniflare.getWorker();
});
afterAll(async () => {
  await miniflare.dispose();
  rmSync(directory, { recursive: true });
});

type Failure = { type: string; why: string };

async function listFailures(): Promise<Failure[]> {
  const response = await worker.fetch('http://site/v1/failures', {
    headers: { authorization: `Bearer ${adminToken}` },
  });
  const listed: unknown = await response.json();
  return listed as Failure[];
}

const deliver = (queue: string, ...bodies: unknown[]) =>
  worker.queue(
    queue,
    bodies.map((body, index) => ({ id: String(index), timestamp: new Date(0), attempts: 1, body })),
  );

/** No site starts on this: every handler throws until it is repaired. */
async function breakSite(): Promise<void> {
  const bucket = await miniflare.getR2Bucket('BUCKET');
  await bucket.put(keyText({ kind: 'site' }), 'not a document');
}

async function repairSite(): Promise<void> {
  const bucket = await miniflare.getR2Bucket('BUCKET');
  await bucket.delete(keyText({ kind: 'site' }));
}

describe('the Worker', () => {
  test('a site that cannot start is retried message by message, with a delay, until it can', async () => {
    await breakSite();
    const failed = await deliver(queueName, idle, idle);
    expect(failed).toMatchObject({ outcome: 'ok', ackAll: false, retryBatch: { retry: false }, explicitAcks: [] });
    expect(failed.retryMessages).toEqual([
      { msgId: '0', delaySeconds: 1 },
      { msgId: '1', delaySeconds: 1 },
    ]);
    expect((await worker.fetch('http://site/health')).status).toBe(503);
  });

  test('a message that no attempt can handle goes to the dead-letter queue, and from there into the list of failures', async () => {
    const queue = await miniflare.getQueueProducer('QUEUE');
    await queue.send(idle, { contentType: 'json' });
    await waitUntil(
      () => lines.some((line) => line.includes("'remove' failed (attempt 2)")),
      'the last attempt failed',
    );
    await waitUntil(
      () => lines.some((line) => line.startsWith('a dead letter could not be recorded')),
      'it is a dead letter',
    );
    await repairSite();
    await waitUntil(async () => (await listFailures()).length > 0, 'the failure is listed');
    expect(await listFailures()).toMatchObject([{ type: 'remove', why: 'not handled after 11 attempts' }]);
  });

  test('messages of a batch are settled one by one: the bad one is on record, the good one is done', async () => {
    const settled = await deliver(queueName, nonsense, idle);
    expect(settled).toMatchObject({ outcome: 'ok', explicitAcks: ['0', '1'], retryMessages: [] });
    const failures = await listFailures();
    expect(failures.map(({ type }) => type).toSorted()).toEqual(['nonsense', 'remove']);
  });

  test('a batch of dead letters is acknowledged once recorded', async () => {
    const settled = await deliver(deadLetterQueueName, { type: 'poll', pool: 'rbd', peerUuid: 'p' });
    expect(settled).toMatchObject({ outcome: 'ok', explicitAcks: ['0'], retryMessages: [] });
    expect((await listFailures()).map(({ type }) => type)).toContain('poll');
  });

  test('cron reaches the tick', async () => {
    const bucket = await miniflare.getR2Bucket('BUCKET');
    expect(await bucket.head(keyText({ kind: 'heartbeat' }))).toBeNull();
    expect(await worker.scheduled({ scheduledTime: new Date(0), cron: '* * * * *' })).toMatchObject({ outcome: 'ok' });
    expect(await bucket.head(keyText({ kind: 'heartbeat' }))).not.toBeNull();
  });

  test('no line of the log holds a secret', () => {
    expect(lines.join('\n')).not.toContain(Buffer.alloc(32, 7).toString('base64'));
    expect(lines.join('\n')).not.toContain(adminToken);
  });
});
