// Owns the part of the CLI's view of a site's API (client.ts) that is about images made of others: clones and copies.

import type { ImageSpec } from '../../image/deps.ts';
import type { AskedCreation } from '../../image/options.ts';
import { requestImage } from './replicas.ts';
import type { SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

type Target = { pool: string; namespace: string; name: string } & AskedCreation;
export type NewClone = ({ snap: string } | { snapId: number }) & Target & { cloneFormat?: string };
export type NewCopy = Target & { deep: boolean };

export class CloneClient {
  readonly #http: SiteHttp;

  constructor(http: SiteHttp) {
    this.#http = http;
  }

  async clone(spec: ImageSpec, body: NewClone): Promise<void> {
    await requestImage(this.#http, 'POST', spec, ['clone'], { body });
  }

  async children(
    spec: ImageSpec,
    query: { snap: string | undefined; snapId: number | undefined; descendants: boolean },
  ): Promise<shapes.Children> {
    const descendants = query.descendants || undefined;
    return this.#http.checked(
      shapes.childrenShape,
      await requestImage(this.#http, 'GET', spec, ['children'], { query: { ...query, descendants } }),
    );
  }

  /** One bounded step. */
  async flatten(spec: ImageSpec): Promise<shapes.Stepped> {
    return this.#http.checked(shapes.flattenedShape, await requestImage(this.#http, 'POST', spec, ['flatten']));
  }

  /** One bounded step; `begun`: the image id that the first answered. */
  async copy({ snap, ...spec }: ImageSpec, copy: NewCopy, begun: string | undefined): Promise<shapes.Copied> {
    const answer = await requestImage(this.#http, 'POST', spec, ['copy'], { body: { ...copy, snap, begun } });
    return this.#http.checked(shapes.copiedShape, answer);
  }
}
