// Owns the part of the CLI's view of a site's API (client.ts) that is about who uses an image: locks, and those who have it open.

import type { ImageSpec } from '../../image/deps.ts';
import { requestImage } from './replicas.ts';
import type { SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

export class LockClient {
  readonly #http: SiteHttp;

  constructor(http: SiteHttp) {
    this.#http = http;
  }

  async watchers(spec: ImageSpec): Promise<shapes.Watchers> {
    return this.#http.checked(shapes.watchersShape, await requestImage(this.#http, 'GET', spec, ['status']));
  }

  async list(spec: ImageSpec): Promise<shapes.Locks> {
    return this.#http.checked(shapes.locksShape, await requestImage(this.#http, 'GET', spec, ['locks']));
  }

  async add(spec: ImageSpec, lock: { id: string; tag: string | undefined; address: string }): Promise<void> {
    await requestImage(this.#http, 'POST', spec, ['locks'], { body: lock });
  }

  async remove(spec: ImageSpec, { id, locker }: { id: string; locker: string }): Promise<void> {
    await requestImage(this.#http, 'DELETE', spec, ['locks', id], { query: { locker } });
  }
}
