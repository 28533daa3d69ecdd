// Owns the part of the CLI's view of a site's API (client.ts) that is about replicas: which points in time they keep, and failovers
// tried out of them.

import type { ImageSpec } from '../../image/deps.ts';
import type { RequestOptions, SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

export function requestImage(
  http: SiteHttp,
  method: string,
  { pool, namespace, image, byId }: ImageSpec,
  tail: readonly string[],
  options: RequestOptions = {},
): Promise<unknown> {
  return http.request(method, ['v1', 'pools', pool, 'images', image, ...tail], {
    ...options,
    query: { ...options.query, namespace, byId: byId || undefined },
  });
}

export class ReplicaClient {
  readonly #http: SiteHttp;

  constructor(http: SiteHttp) {
    this.#http = http;
  }

  async imageRetention(spec: ImageSpec): Promise<shapes.ImageRetention> {
    return this.#http.checked(
      shapes.imageRetentionShape,
      await requestImage(this.#http, 'GET', spec, ['mirror', 'retention']),
    );
  }

  async setImageRetention(spec: ImageSpec, keep: string): Promise<void> {
    await requestImage(this.#http, 'PUT', spec, ['mirror', 'retention'], { body: { keep } });
  }

  async removeImageRetention(spec: ImageSpec): Promise<void> {
    await requestImage(this.#http, 'DELETE', spec, ['mirror', 'retention']);
  }

  async poolRetention(pool: string): Promise<shapes.Retention> {
    const answer = await this.#http.request('GET', ['v1', 'pools', pool, 'mirror', 'retention']);
    return this.#http.checked(shapes.retentionShape, answer);
  }

  async setPoolRetention(pool: string, keep: string): Promise<void> {
    await this.#http.request('PUT', ['v1', 'pools', pool, 'mirror', 'retention'], { body: { keep } });
  }

  async removePoolRetention(pool: string): Promise<void> {
    await this.#http.request('DELETE', ['v1', 'pools', pool, 'mirror', 'retention']);
  }

  async startTestFailover(
    spec: ImageSpec,
    test: { pool: string; namespace: string; name: string; snapId?: number },
  ): Promise<void> {
    await requestImage(this.#http, 'POST', spec, ['mirror', 'test-failover'], { body: test });
  }

  async listTestFailovers(spec: ImageSpec): Promise<shapes.TestFailovers> {
    return this.#http.checked(
      shapes.testFailoversShape,
      await requestImage(this.#http, 'GET', spec, ['mirror', 'test-failover']),
    );
  }

  async cleanUpTestFailovers(spec: ImageSpec, id: string | undefined): Promise<shapes.TestFailovers> {
    return this.#http.checked(
      shapes.testFailoversShape,
      await requestImage(this.#http, 'DELETE', spec, ['mirror', 'test-failover'], { query: { id } }),
    );
  }
}
