// Owns the CLI's view of the trash of a site's API, a part of `Client`.

import { z } from 'zod';
import type { ImageSpec } from '../../image/deps.ts';
import type { PoolSpec, TrashSpec } from '../parse/grammar.ts';
import type { RequestOptions, SiteHttp } from './http.ts';
import * as shapes from './shapes.ts';

const pageShape = z.looseObject({ images: shapes.trashShape, next: z.string().optional() });

/** A listing or a purge ends after so many answers: more is a site that repeats itself. */
const pagesMax = 10_000;
/** A chain of clones is no longer (`ancestorsMax`). */
const passesMax = 17;

export class TrashClient {
  readonly #http: SiteHttp;

  constructor(http: SiteHttp) {
    this.#http = http;
  }

  async move({ pool, namespace, image }: ImageSpec, delaySeconds: number): Promise<void> {
    await this.#request('POST', { pool, namespace }, [], { body: { image, delaySeconds } });
  }

  async list(spec: PoolSpec, options: { all: boolean }): Promise<shapes.Trash> {
    const images: shapes.Trash = [];
    let after: string | undefined;
    for (let pages = 0; pages < pagesMax; pages += 1) {
      const answer = await this.#request('GET', spec, [], { query: { all: options.all || undefined, after } });
      const page: z.infer<typeof pageShape> = this.#http.checked(pageShape, answer);
      images.push(...page.images);
      if (page.next === undefined) break;
      after = page.next;
    }
    return images;
  }

  async restore({ id, ...spec }: TrashSpec, name: string | undefined): Promise<void> {
    await this.#request('POST', spec, [id, 'restore'], { body: name === undefined ? {} : { name } });
  }

  async remove({ id, ...spec }: TrashSpec, options: { force: boolean }): Promise<void> {
    await this.#request('DELETE', spec, [id], { query: { force: options.force || undefined } });
  }

  /** All that expired before then, or before now; answers the ids of images that have snapshots. A parent goes after its clones. */
  async purge(spec: PoolSpec, expiredBeforeMs: number | undefined): Promise<string[]> {
    for (let passes = 1; ; passes += 1) {
      const { removed, kept } = await this.#purgeOnce(spec, expiredBeforeMs);
      if (removed === 0 || kept.length === 0 || passes === passesMax) return kept;
    }
  }

  async #purgeOnce(spec: PoolSpec, expiredBeforeMs: number | undefined): Promise<{ removed: number; kept: string[] }> {
    const kept: string[] = [];
    let removed = 0;
    let after: string | undefined;
    for (let pages = 0; pages < pagesMax; pages += 1) {
      const body = {
        ...(expiredBeforeMs === undefined ? {} : { expiredBeforeMs }),
        ...(after === undefined ? {} : { after }),
      };
      const purged = this.#http.checked(
        shapes.trashPurgedShape,
        await this.#request('POST', spec, ['purge'], { body }),
      );
      kept.push(...purged.kept);
      removed += purged.removed.length;
      if (purged.next === undefined) break;
      after = purged.next;
    }
    return { removed, kept };
  }

  #request(
    method: string,
    { pool, namespace }: PoolSpec,
    tail: readonly string[],
    { query, body }: RequestOptions,
  ): Promise<unknown> {
    return this.#http.request(method, ['v1', 'pools', pool, 'trash', ...tail], {
      query: { ...query, namespace },
      ...(body === undefined ? {} : { body }),
    });
  }
}
