// Sites that reach each other by calling: a fetch that hands requests to the site whose host they name.

import type { Bucket } from '../../lib/bucket/bucket.ts';
import { FakeClock } from '../image/fake-clock.ts';
import { TestSite } from './harness.ts';

/** Milliseconds of quiet after which no straggler is expected. */
const stragglerTurns = 25;

export class TestNetwork {
  readonly #sites = new Map<string, TestSite>();
  /** Requests between sites, in order: `GET site-a.test/peer/…`. */
  readonly requests: string[] = [];
  /** Hosts that cannot be reached. */
  readonly down = new Set<string>();

  readonly fetch: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const { host, pathname } = new URL(request.url);
    const site = this.#sites.get(host);
    if (!site || this.down.has(host)) throw new TypeError('fetch failed');
    this.requests.push(`${request.method} ${host}${pathname}`);
    return site.site.fetch(request);
  };

  /** Sites share a clock. `bucket`: else one in memory. */
  add(name: string, clock = this.#clock(), bucket?: Bucket): TestSite {
    const site = new TestSite({ name, clock, fetch: this.fetch, ...(bucket && { bucket }) });
    this.#sites.set(`${name}.test`, site);
    return site;
  }

  /** Handles queued messages of all sites until none is left. */
  async settle(messagesMax = 1000): Promise<void> {
    for (let count = 0; count < messagesMax; count++) {
      const site = this.#busy() ?? (await this.#afterStragglers());
      if (!site) return;
      const message = site.queue.sent.shift()!;
      const outcome = await site.site.handle(message);
      if (outcome.kind === 'retry') site.queue.sent.push(message);
    }
    throw new Error('messages never end');
  }

  #busy(): TestSite | undefined {
    return [...this.#sites.values()].find(({ queue }) => queue.sent.length > 0);
  }

  /**
   * Wake-ups are sent without waiting for them (the fake clock's sleeps are over at once), and unsealing a key takes WebCrypto
   * some real time. So stragglers are given some.
   */
  async #afterStragglers(): Promise<TestSite | undefined> {
    for (let turn = 0; turn < stragglerTurns && !this.#busy(); turn++)
      await new Promise((resolve) => setTimeout(resolve, 1));
    return this.#busy();
  }

  /** site-a and site-b with pool `rbd`. */
  async addPair(): Promise<[a: TestSite, b: TestSite]> {
    const [a, b] = [this.add('site-a'), this.add('site-b')];
    for (const site of [a, b]) await site.ok('POST', '/v1/pools', { name: 'rbd' });
    return [a, b];
  }

  /** The pool's images are mirrored from one to the other. */
  async introduce(a: TestSite, b: TestSite, direction: 'rx-only' | 'rx-tx'): Promise<void> {
    await a.ok('PUT', '/v1/pools/rbd/mirror', { mode: 'image' });
    const { token } = (await a.ok('POST', '/v1/pools/rbd/mirror/bootstrap')).json;
    await b.ok('POST', '/v1/pools/rbd/mirror/bootstrap/import', { token, direction });
  }

  async tick(): Promise<void> {
    for (const site of this.#sites.values()) await site.site.tick(site.clock.nowMs());
    await this.settle();
  }

  #clock(): FakeClock {
    return [...this.#sites.values()][0]?.clock ?? new FakeClock(Date.UTC(2026, 10, 23, 7, 6, 9));
  }
}
