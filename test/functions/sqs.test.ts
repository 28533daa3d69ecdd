// SQS as farside uses it: one suite over a server that speaks its protocol and over the one in memory.

import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { SqsClient, type SqsApi, type SqsMessage } from '../../functions/sqs-api.ts';
import { SqsQueue } from '../../functions/sqs-queue.ts';
import { MemorySqs } from '../../infra/local/sqs-memory.ts';
import { systemClock } from '../../lib/clock.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { startLocalAws, type LocalAws } from '../local-aws.ts';

const poll = (peerUuid: string): Message => ({ type: 'poll', pool: 'rbd', peerUuid });
const maxReceiveCount = 2;
const visibilityTimeoutSeconds = 2;

type Queues = { sqs: SqsApi; main: string; dead: string };

async function onServer(endpoint: string): Promise<Queues> {
  const place = { endpoint, region: 'us-east-1' };
  const client = new SQSClient(place);
  const make = async (QueueName: string, more: Record<string, string> = {}): Promise<string> => {
    const Attributes = { VisibilityTimeout: String(visibilityTimeoutSeconds), ...more };
    return (await client.send(new CreateQueueCommand({ QueueName, Attributes }))).QueueUrl!;
  };
  const dead = await make('dead');
  const found = await client.send(new GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ['QueueArn'] }));
  const policy = { deadLetterTargetArn: found.Attributes!.QueueArn, maxReceiveCount };
  return { sqs: new SqsClient(place), main: await make('main', { RedrivePolicy: JSON.stringify(policy) }), dead };
}

function inMemory(): Queues {
  const [main, dead] = ['http://queue.invalid/main', 'http://queue.invalid/dead'];
  const queues = {
    [main]: { visibilityTimeoutSeconds, redrive: { deadLetterQueueUrl: dead, maxReceiveCount } },
    [dead]: { visibilityTimeoutSeconds },
  };
  return { sqs: new MemorySqs(queues, { clock: systemClock, random: systemRandom }), main, dead };
}

async function receiveAll({ sqs, main }: Queues, count: number): Promise<SqsMessage[]> {
  const messages: SqsMessage[] = [];
  while (messages.length < count) {
    const more = await sqs.receive(main, 5);
    if (more.length === 0) throw new Error(`${messages.length} of ${count} messages came`);
    messages.push(...more);
  }
  return messages;
}

const handles = (messages: readonly SqsMessage[]): string[] => messages.map(({ receiptHandle }) => receiptHandle);

describe.each(['server', 'memory'])('SQS in %s', (kind) => {
  let server: LocalAws;
  let queues: Queues;
  beforeAll(async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'AK');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'SK');
    server = await startLocalAws();
    queues = kind === 'server' ? await onServer(server.endpoint) : inMemory();
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await server.stop();
  });
  test('every message of a large send arrives once, and is gone when it is deleted', async () => {
    const sent = Array.from({ length: 25 }, (_, index) => poll(String(index)));
    await new SqsQueue(queues.sqs, queues.main).send(sent);
    const messages = await receiveAll(queues, sent.length);
    expect(messages.map(({ body }) => body).toSorted()).toEqual(sent.map((one) => JSON.stringify(one)).toSorted());
    expect(new Set(messages.map(({ receiveCount }) => receiveCount))).toEqual(new Set([1]));
    for (let index = 0; index < messages.length; index += 10)
      await queues.sqs.delete(queues.main, handles(messages.slice(index, index + 10)));
  });

  test('a delayed message is not there before its time, and wakes a receive that waits', async () => {
    await new SqsQueue(queues.sqs, queues.main).send([poll('late')], { delayMs: 1000 });
    expect(await queues.sqs.receive(queues.main, 0)).toEqual([]);
    const [message] = await receiveAll(queues, 1);
    await queues.sqs.delete(queues.main, [message!.receiptHandle]);
  });

  test('a message that is handed back at once comes again, counted; too often, it is a dead letter', async () => {
    await queues.sqs.send(queues.main, ['poison'], 0);
    for (const receiveCount of [1, 2]) {
      const [message] = await receiveAll(queues, 1);
      expect(message).toMatchObject({ body: 'poison', receiveCount });
      await queues.sqs.hide(queues.main, [{ receiptHandle: message!.receiptHandle, seconds: 0 }]);
    }
    expect(await queues.sqs.receive(queues.main, 0)).toEqual([]);
    const [dead] = await queues.sqs.receive(queues.dead, 5);
    expect(dead).toMatchObject({ body: 'poison' });
    await queues.sqs.delete(queues.dead, [dead!.receiptHandle]);
  });

  test('a message that nobody settles comes back when its visibility timeout is over', async () => {
    await queues.sqs.send(queues.main, ['forgotten'], 0);
    const [first] = await receiveAll(queues, 1);
    expect(await queues.sqs.receive(queues.main, 0)).toEqual([]);
    const [again] = await receiveAll(queues, 1);
    expect(again).toMatchObject({ messageId: first!.messageId, receiveCount: 2 });
    await queues.sqs.delete(queues.main, [again!.receiptHandle]);
  });
});

test('an SQS that is not there is EAGAIN, for later', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AK');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'SK');
  const sqs = new SqsClient({ endpoint: 'http://127.0.0.1:1', region: 'us-east-1' });
  await expect(new SqsQueue(sqs, 'http://127.0.0.1:1/0/x').send([poll('a')])).rejects.toMatchObject({
    code: 'EAGAIN',
    retry: 'later',
    message: expect.stringContaining('SQS send'),
  });
  vi.unstubAllEnvs();
});
