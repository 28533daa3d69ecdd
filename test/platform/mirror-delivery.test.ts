// Delivery to the Worker in workerd.

import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { choosePort } from '../../infra/local/free-port.ts';
import { miniflareOptions, queueName } from '../../infra/local/miniflare-site.ts';
import { bundleWorker } from '../../infra/local/worker-bundle.ts';
import type { Driver } from '../../lib/bucket/driver.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { assert } from '../../lib/errors.ts';
import type { Message } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { describeDelivery, token, tuning, type DeliverySite } from './delivery-scenarios.ts';

class WorkerSite implements DeliverySite {
  readonly name: string;
  readonly url: string;
  readonly directory = mkdtempSync(join(tmpdir(), 'farside delivery '));
  readonly #script: string;
  readonly #hasConsumer: boolean;
  #miniflare: Miniflare | undefined;

  constructor(name: string, options: { port: number; script: string; hasConsumer: boolean }) {
    this.name = name;
    this.url = `http://127.0.0.1:${options.port}`;
    this.#script = options.script;
    this.#hasConsumer = options.hasConsumer;
  }

  get miniflare(): Miniflare {
    assert(this.#miniflare !== undefined, `${this.name} was started`);
    return this.#miniflare;
  }

  driver(): Driver {
    return new HttpDriver({ url: this.url, token, fetch });
  }

  async overwrite(key: string, bytes: Uint8Array): Promise<void> {
    await (await this.miniflare.getR2Bucket('BUCKET')).put(key, bytes);
  }

  async start(): Promise<void> {
    const config = {
      name: this.name,
      url: this.url,
      platform: 'miniflare',
      adminTokenHash: createHash('sha256').update(token).digest('hex'),
      secret: Buffer.alloc(32, 7).toString('base64'),
      ...tuning,
    };
    const port = Number(new URL(this.url).port);
    const site = { directory: this.directory, port, config, log: () => undefined };
    const options = miniflareOptions(site, this.#script);
    if (!this.#hasConsumer) options['queueConsumers'] = {};
    this.#miniflare = new Miniflare(convertV4MiniflareOptions(options));
    await this.#miniflare.ready;
  }

  async stop(): Promise<void> {
    await this.miniflare.dispose();
  }

  async deliver(...bodies: Message[]): Promise<number> {
    const worker = await this.miniflare.getWorker();
    const settled = await worker.queue(
      queueName,
      bodies.map((body, index) => ({ id: String(index), timestamp: new Date(0), attempts: 1, body })),
    );
    assert(settled.outcome === 'ok', 'every message is settled by itself');
    return settled.retryMessages.length;
  }

  async tick(): Promise<void> {
    const worker = await this.miniflare.getWorker();
    await worker.scheduled({ scheduledTime: new Date(), cron: '* * * * *' });
  }
}

describeDelivery('the Worker', async () => {
  const script = await bundleWorker();
  const a = new WorkerSite('site-a', { port: await choosePort(systemRandom), script, hasConsumer: true });
  const b = new WorkerSite('site-b', { port: await choosePort(systemRandom), script, hasConsumer: false });
  process.once('exit', () => {
    for (const { directory } of [a, b]) rmSync(directory, { recursive: true, force: true });
  });
  return { a, b };
});
