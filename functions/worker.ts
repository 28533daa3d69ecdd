// The Cloudflare Worker of a site: decodes the platform's events, calls Site, answers. It decides nothing, and after a part of
// a batch was handled it cannot throw: each message is acknowledged or retried by itself.

import type { Message, MessageBatch, ScheduledController } from '@cloudflare/workers-types';
import { systemRandom } from '../lib/random.ts';
import { backOffMs, delaySeconds, deliver, deliverDeadLetter, describeFailure } from '../lib/site/delivery.ts';
import { parseEnv } from './worker-env.ts';
import { siteOf } from './worker-site.ts';

const log = (line: string): void => console.error(line);

export default {
  async fetch(request: Request, env: unknown): Promise<Response> {
    try {
      return await siteOf(parseEnv(env)).fetch(request);
    } catch (cause) {
      log(describeFailure(cause));
      return Response.json(
        { error: { code: 'EIO', message: 'this site cannot answer: its log says why' } },
        { status: 500 },
      );
    }
  },

  async scheduled(controller: ScheduledController, env: unknown): Promise<void> {
    await siteOf(parseEnv(env)).tick(controller.scheduledTime);
  },

  async queue(batch: MessageBatch, rawEnv: unknown): Promise<void> {
    const env = parseEnv(rawEnv);
    const settle = batch.queue === env.DEAD_LETTER_QUEUE ? settleDeadLetter : settleMessage;
    // One after the other: the largest message alone may fill the memory budget of an isolate (packsConcurrency).
    for (const message of batch.messages) await settle(siteOf(env), message);
  },
};

type Site = ReturnType<typeof siteOf>;

async function settleMessage(site: Site, message: Message): Promise<void> {
  const outcome = await deliver(site, message, { random: systemRandom, log });
  if (outcome.kind === 'ack') message.ack();
  else message.retry({ delaySeconds: delaySeconds(outcome.delayMs) });
}

async function settleDeadLetter(site: Site, message: Message): Promise<void> {
  if (await deliverDeadLetter(site, message.body, { log })) message.ack();
  else message.retry({ delaySeconds: delaySeconds(backOffMs(message.attempts, systemRandom.fraction())) });
}
