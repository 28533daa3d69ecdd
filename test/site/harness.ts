// A site on a bucket in memory, with a clock that tests own and a queue that only remembers.

import { createHash } from 'node:crypto';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { MemoryDriver } from '../../lib/bucket/memory.ts';
import type { Message, Queue } from '../../lib/mirror/messages.ts';
import { systemRandom } from '../../lib/random.ts';
import { Site, type SiteConfig } from '../../lib/site/site.ts';
import { FakeClock } from '../image/fake-clock.ts';

export const adminToken = 'admin-token-of-the-tests';

export class RecordingQueue implements Queue {
  readonly sent: Message[] = [];

  async send(messages: readonly Message[]): Promise<void> {
    this.sent.push(...messages);
  }
}

export type TestSiteOptions = {
  name?: string;
  clock?: FakeClock;
  fetch?: typeof fetch;
  config?: Partial<SiteConfig>;
  bucket?: Bucket;
};

export class TestSite {
  readonly clock: FakeClock;
  readonly driver: MemoryDriver;
  readonly bucket: Bucket;
  readonly queue = new RecordingQueue();
  readonly log: string[] = [];
  readonly site: Site;
  readonly config: SiteConfig;

  constructor(options: TestSiteOptions = {}) {
    const name = options.name ?? 'site-a';
    this.clock = options.clock ?? new FakeClock(Date.UTC(2026, 10, 23, 7, 6, 9));
    this.driver = new MemoryDriver(this.clock);
    this.bucket = options.bucket ?? new Bucket(this.driver, { clock: this.clock, random: systemRandom });
    this.config = {
      name,
      url: `https://${name}.test`,
      platform: 'test',
      adminTokenHash: createHash('sha256').update(adminToken).digest('hex'),
      secret: Buffer.alloc(32, name).toString('base64'),
      ...options.config,
    };
    const noNetwork: typeof fetch = async () => {
      throw new TypeError('no network in this test');
    };
    this.site = new Site({
      bucket: this.bucket,
      queue: this.queue,
      clock: this.clock,
      random: systemRandom,
      fetch: options.fetch ?? noNetwork,
      config: this.config,
      log: (line) => this.log.push(line),
    });
  }

  /** One request with the admin's token, or another, or (null) none. */
  async call(method: string, path: string, body?: unknown, token: string | null = adminToken): Promise<Answer> {
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const init: RequestInit = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await this.site.fetch(new Request(`${this.config.url}${path}`, init));
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: text === '' ? undefined : parse(text) };
  }

  /** As `call`, but fails the test unless the answer is a success. */
  async ok(method: string, path: string, body?: unknown, token: string | null = adminToken): Promise<Answer> {
    const answer = await this.call(method, path, body, token);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer;
  }

  /** A token for one pool. */
  async clientToken(pool: string): Promise<string> {
    return (await this.ok('POST', '/v1/tokens', { scope: `pool:${pool}` })).json.token;
  }
}

/* oxlint-disable-next-line no-explicit-any -- tests look into answers of every shape */
export type Answer = { status: number; headers: Headers; text: string; json: any };

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
