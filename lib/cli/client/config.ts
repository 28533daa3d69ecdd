// Owns the CLI's view of options in a site's API, a part of `Client`. What an image overrides is metadata.

import { z } from 'zod';
import type { ConfigOwner } from '../../image/config.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

const valueShape = z.looseObject({ value: z.string() });

const pathOf = (owner: ConfigOwner): string[] =>
  'pool' in owner ? ['v1', 'pools', owner.pool, 'config'] : ['v1', 'config', owner.section];

export class ConfigClient {
  readonly #http: SiteHttp;

  constructor(http: SiteHttp) {
    this.#http = http;
  }

  /** Every option as it holds for a pool. */
  async ofPool(pool: string): Promise<shapes.Options> {
    return this.#http.checked(shapes.optionsShape, await this.#http.request('GET', pathOf({ pool })));
  }

  async ofImage({ pool, namespace, image }: ImageSpec): Promise<shapes.Options> {
    const path = ['v1', 'pools', pool, 'images', image, 'config'];
    return this.#http.checked(shapes.optionsShape, await this.#http.request('GET', path, { query: { namespace } }));
  }

  async ofSite(section: string): Promise<shapes.SiteOptions> {
    return this.#http.checked(shapes.siteOptionsShape, await this.#http.request('GET', pathOf({ section })));
  }

  async get(owner: ConfigOwner, name: string): Promise<string> {
    return this.#http.checked(valueShape, await this.#http.request('GET', [...pathOf(owner), name])).value;
  }

  async set(owner: ConfigOwner, name: string, value: string): Promise<void> {
    await this.#http.request('PUT', [...pathOf(owner), name], { body: { value } });
  }

  async remove(owner: ConfigOwner, name: string): Promise<void> {
    await this.#http.request('DELETE', [...pathOf(owner), name]);
  }
}
