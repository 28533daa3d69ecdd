// Owns the part of SQS that farside uses, as an interface, and its implementation by the SDK. A local site without SQS has
// another (infra/local/sqs-memory.ts). The functions send and set visibilities; receiving and deleting is Lambda's event source's
// on AWS, and infra/local/event-source.ts's elsewhere.

import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { FarsideError } from '../lib/errors.ts';

/** Of every batch operation. */
export const sqsBatchMax = 10;

export type SqsMessage = { messageId: string; receiptHandle: string; body: string; receiveCount: number };

/** Batches are of at most `sqsBatchMax`. A failure of one entry is a failure (EAGAIN); others may have succeeded. */
export interface SqsApi {
  send(queueUrl: string, bodies: readonly string[], delaySeconds: number): Promise<void>;
  /** Waits up to `waitSeconds` (at most 20) for the first message. Then they are hidden for the queue's visibility timeout. */
  receive(queueUrl: string, waitSeconds: number): Promise<SqsMessage[]>;
  delete(queueUrl: string, receiptHandles: readonly string[]): Promise<void>;
  /** From now. */
  hide(queueUrl: string, messages: readonly { receiptHandle: string; seconds: number }[]): Promise<void>;
}

const attemptsMax = 3;

export class SqsClient implements SqsApi {
  readonly #client: SQSClient;

  /** The SDK repeats sends: a message that is there twice does no harm. */
  constructor({ endpoint, region }: { endpoint?: string | undefined; region?: string | undefined }) {
    this.#client = new SQSClient({
      maxAttempts: attemptsMax,
      ...(endpoint !== undefined && { endpoint }),
      ...(region !== undefined && { region }),
    });
  }

  async send(queueUrl: string, bodies: readonly string[], delaySeconds: number): Promise<void> {
    const Entries = bodies.map((body, index) => ({
      Id: String(index),
      MessageBody: body,
      DelaySeconds: delaySeconds,
    }));
    const command = new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries });
    assertNone('send', (await asking('send', () => this.#client.send(command))).Failed);
  }

  async receive(queueUrl: string, waitSeconds: number): Promise<SqsMessage[]> {
    const command = new ReceiveMessageCommand({
      QueueUrl: queueUrl,
      MaxNumberOfMessages: sqsBatchMax,
      WaitTimeSeconds: waitSeconds,
      MessageSystemAttributeNames: ['ApproximateReceiveCount'],
    });
    const { Messages = [] } = await asking('receive', () => this.#client.send(command));
    return Messages.map(({ MessageId = '', ReceiptHandle = '', Body = '', Attributes }) => ({
      messageId: MessageId,
      receiptHandle: ReceiptHandle,
      body: Body,
      receiveCount: Number(Attributes?.ApproximateReceiveCount ?? 1),
    }));
  }

  async delete(queueUrl: string, receiptHandles: readonly string[]): Promise<void> {
    if (receiptHandles.length === 0) return;
    const Entries = receiptHandles.map((ReceiptHandle, index) => ({ Id: String(index), ReceiptHandle }));
    const command = new DeleteMessageBatchCommand({ QueueUrl: queueUrl, Entries });
    assertNone('delete', (await asking('delete', () => this.#client.send(command))).Failed);
  }

  async hide(queueUrl: string, messages: readonly { receiptHandle: string; seconds: number }[]): Promise<void> {
    if (messages.length === 0) return;
    const Entries = messages.map(({ receiptHandle, seconds }, index) => ({
      Id: String(index),
      ReceiptHandle: receiptHandle,
      VisibilityTimeout: seconds,
    }));
    const command = new ChangeMessageVisibilityBatchCommand({ QueueUrl: queueUrl, Entries });
    assertNone('hide', (await asking('hide', () => this.#client.send(command))).Failed);
  }
}

async function asking<T>(what: string, send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (cause) {
    throw refused(what, cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause), cause);
  }
}

function assertNone(what: string, failed: { Code?: string | undefined; Message?: string | undefined }[] = []): void {
  const [first] = failed;
  if (first) throw refused(what, `${failed.length} entries failed, the first with ${first.Code}: ${first.Message}`);
}

const refused = (what: string, why: string, cause?: unknown): FarsideError =>
  new FarsideError('EAGAIN', `SQS ${what}: ${why}`, { retry: 'later', cause });
