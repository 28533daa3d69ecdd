// Owns the CLI's view of a site's API: one method per operation, in the words of ARCHITECTURE.md's list. Answers are
// checked against the shapes that plain text is made from and handed on as they came.

import { z } from 'zod';
import type { ImageSpec } from '../../image/deps.ts';
import type { AskedCreation } from '../../image/options.ts';
import type { AskedRemoval } from '../../mirror/verbs/trash.ts';
import type { QuiesceMode } from '../../image/journal/quiesce.ts';
import { JournalClient } from './journal.ts';
import { ScheduleClient } from './schedules.ts';
import { LockClient } from './locks.ts';
import { ReplicaClient, requestImage } from './replicas.ts';
import type { PoolSpec } from '../parse/grammar.ts';
import { SiteHttp, type Query, type RequestOptions } from './http.ts';
import type { Registration } from '../sites/registry.ts';
import { CloneClient } from './clones.ts';
import { ConfigClient } from './config.ts';
import { TrashClient } from './trash.ts';
import * as shapes from './shapes.ts';

export type MirrorMode = 'image' | 'pool' | 'init-only';
export type ImageMirrorMode = 'journal' | 'snapshot';
export type Direction = 'rx-only' | 'rx-tx';
export type NewPeer = {
  cluster: string;
  client: string;
  direction: Direction;
  monHost?: string | undefined;
  key?: string | undefined;
  additional: boolean;
};

const imagePageShape = z.looseObject({ images: shapes.listedImagesShape, next: z.string().optional() });

/** A listing ends after so many pages: more is a site that repeats itself. */
const pagesMax = 10_000;

export class Client {
  readonly #http: SiteHttp;

  readonly config: ConfigClient;
  readonly clones: CloneClient;
  readonly trash: TrashClient;
  readonly locks: LockClient;
  readonly journal: JournalClient;
  /** Of mirror snapshots, and of purges of the trash. */
  readonly schedules: ScheduleClient;
  readonly purges: ScheduleClient;
  /** What a replica is kept for besides taking over. */
  readonly replicas: ReplicaClient;

  constructor(site: Registration, fetcher: typeof fetch) {
    this.#http = new SiteHttp(site, fetcher);
    this.config = new ConfigClient(this.#http);
    this.clones = new CloneClient(this.#http);
    this.trash = new TrashClient(this.#http);
    this.locks = new LockClient(this.#http);
    this.journal = new JournalClient(this.#http);
    this.schedules = new ScheduleClient(this.#http, 'schedules');
    this.purges = new ScheduleClient(this.#http, 'purge-schedules');
    this.replicas = new ReplicaClient(this.#http);
  }

  async siteInfo(): Promise<shapes.Site> {
    return await this.#get(shapes.siteShape, ['v1', 'site']);
  }

  // pools and tokens

  async createPool(name: string): Promise<void> {
    await this.#http.request('POST', ['v1', 'pools'], { body: { name } });
  }

  async listPools(): Promise<string[]> {
    return (await this.#get(shapes.namesShape, ['v1', 'pools'])).map((pool) => pool.name);
  }

  async removePool(name: string): Promise<void> {
    await this.#http.request('DELETE', ['v1', 'pools', name]);
  }

  async createNamespace({ pool, namespace }: PoolSpec): Promise<void> {
    await this.#http.request('POST', ['v1', 'pools', pool, 'namespaces'], { body: { name: namespace } });
  }

  async listNamespaces(pool: string): Promise<shapes.Names> {
    return await this.#get(shapes.namesShape, ['v1', 'pools', pool, 'namespaces']);
  }

  async removeNamespace({ pool, namespace }: PoolSpec): Promise<void> {
    await this.#http.request('DELETE', ['v1', 'pools', pool, 'namespaces', namespace]);
  }

  async createToken(options: {
    scope: string;
    expiresInSeconds?: number;
  }): Promise<z.infer<typeof shapes.createdTokenShape>> {
    return this.#http.checked(
      shapes.createdTokenShape,
      await this.#http.request('POST', ['v1', 'tokens'], { body: options }),
    );
  }

  async listTokens(): Promise<shapes.Tokens> {
    return await this.#get(shapes.tokensShape, ['v1', 'tokens']);
  }

  async removeToken(id: string): Promise<void> {
    await this.#http.request('DELETE', ['v1', 'tokens', id]);
  }

  // messages that were given up

  async listFailures(): Promise<shapes.Failures> {
    return await this.#get(shapes.failuresShape, ['v1', 'failures']);
  }

  /** Without an id: all of them. */
  async retryFailures(id: string | undefined): Promise<z.infer<typeof shapes.retriedShape>> {
    return this.#http.checked(
      shapes.retriedShape,
      await this.#http.request('POST', ['v1', 'failures', 'retry'], { query: { id } }),
    );
  }

  async purgeFailures(id: string | undefined): Promise<void> {
    await this.#http.request('DELETE', ['v1', 'failures'], { query: { id } });
  }

  // images

  async createImage(spec: ImageSpec, options: AskedCreation & { sizeBytes: number }): Promise<void> {
    const { pool, namespace, image } = spec;
    await this.#http.request('POST', ['v1', 'pools', pool, 'images'], {
      query: { namespace },
      body: { name: image, ...options },
    });
  }

  async listImages({ pool, namespace }: PoolSpec): Promise<shapes.ListedImages> {
    const images: shapes.ListedImages = [];
    let after: string | undefined;
    for (let pages = 0; pages < pagesMax; pages += 1) {
      const page: z.infer<typeof imagePageShape> = await this.#get(imagePageShape, ['v1', 'pools', pool, 'images'], {
        namespace,
        after,
      });
      images.push(...page.images);
      if (page.next === undefined) break;
      after = page.next;
    }
    return images;
  }

  async imageInfo(spec: ImageSpec): Promise<shapes.Info> {
    return this.#http.checked(shapes.infoShape, await this.#image('GET', spec, [], { query: { snap: spec.snap } }));
  }

  async renameImage(spec: ImageSpec, name: string): Promise<void> {
    await this.#image('PATCH', spec, [], { body: { name } });
  }

  async resizeImage(spec: ImageSpec, options: { sizeBytes: number; allowShrink: boolean }): Promise<void> {
    await this.#image('POST', spec, ['resize'], { body: options });
  }

  async updateFeatures(spec: ImageSpec, change: { enable: string[] } | { disable: string[] }): Promise<void> {
    await this.#image('POST', spec, ['features'], { body: change });
  }

  /** What is asked goes before what options say. */
  async removeImage(spec: ImageSpec, query: AskedRemoval = {}): Promise<void> {
    await this.#image('DELETE', spec, [], { query });
  }

  /** Starts it; it goes on in the background. */
  async collect(spec: ImageSpec): Promise<z.infer<typeof shapes.collectShape>> {
    return this.#http.checked(shapes.collectShape, await this.#image('POST', spec, ['collect']));
  }

  // snapshots

  async createSnapshot(spec: ImageSpec, name: string, options: { quiesce?: QuiesceMode } = {}): Promise<void> {
    await this.#image('POST', spec, ['snaps'], { body: { name, ...options } });
  }

  async listSnapshots(spec: ImageSpec, options: { all: boolean }): Promise<shapes.Snapshots> {
    return this.#http.checked(
      shapes.snapshotsShape,
      await this.#image('GET', spec, ['snaps'], { query: { all: options.all || undefined } }),
    );
  }

  async removeSnapshot(spec: ImageSpec, name: string): Promise<void> {
    await this.#image('DELETE', spec, ['snaps', name]);
  }

  /** Removes all that are not protected, in one step. */
  async purgeSnapshots(spec: ImageSpec): Promise<shapes.Purged> {
    return this.#http.checked(shapes.purgedShape, await this.#image('DELETE', spec, ['snaps']));
  }

  async changeSnapshot(
    spec: ImageSpec,
    name: string,
    change: { name: string } | { protected: boolean },
  ): Promise<void> {
    await this.#image('PATCH', spec, ['snaps', name], { body: change });
  }

  async rollbackSnapshot(spec: ImageSpec, to: { snap: string } | { snapId: number }): Promise<void> {
    if ('snap' in to) await this.#image('POST', spec, ['snaps', to.snap, 'rollback']);
    else await this.#image('POST', spec, ['rollback'], { body: { id: to.snapId } });
  }

  async setSnapshotLimit(spec: ImageSpec, limit: number): Promise<void> {
    await this.#image('PUT', spec, ['snapshot-limit'], { body: { limit } });
  }

  async clearSnapshotLimit(spec: ImageSpec): Promise<void> {
    await this.#image('DELETE', spec, ['snapshot-limit']);
  }

  // metadata

  async listMeta(spec: ImageSpec): Promise<Record<string, string>> {
    return this.#http.checked(shapes.metaShape, await this.#image('GET', spec, ['meta']));
  }

  async getMeta(spec: ImageSpec, key: string): Promise<string> {
    const answer = await this.#image('GET', spec, ['meta', key]);
    return this.#http.checked(z.looseObject({ value: z.string() }), answer).value;
  }

  async setMeta(spec: ImageSpec, key: string, value: string): Promise<void> {
    await this.#image('PUT', spec, ['meta', key], { body: { value } });
  }

  async removeMeta(spec: ImageSpec, key: string): Promise<void> {
    await this.#image('DELETE', spec, ['meta', key]);
  }

  // mirroring of a pool

  async enablePool(
    spec: PoolSpec,
    options: { mode: MirrorMode; siteName?: string | undefined; remoteNamespace?: string | undefined },
  ): Promise<z.infer<typeof shapes.enabledPoolShape>> {
    return this.#http.checked(shapes.enabledPoolShape, await this.#pool('PUT', spec, ['mirror'], { body: options }));
  }

  async disablePool(spec: PoolSpec): Promise<z.infer<typeof shapes.disabledPoolShape>> {
    return this.#http.checked(shapes.disabledPoolShape, await this.#pool('DELETE', spec, ['mirror']));
  }

  async poolInfo(spec: PoolSpec, options: { all?: boolean } = {}): Promise<shapes.PoolInfo> {
    return this.#http.checked(
      shapes.poolInfoShape,
      await this.#pool('GET', spec, ['mirror'], { query: { all: options.all || undefined } }),
    );
  }

  async poolStatus(spec: PoolSpec, options: { verbose: boolean }): Promise<shapes.PoolStatus> {
    return this.#http.checked(
      shapes.poolStatusShape,
      await this.#pool('GET', spec, ['mirror', 'status'], { query: { verbose: options.verbose || undefined } }),
    );
  }

  async promotePool(spec: PoolSpec, body: { force: boolean; after: string | undefined }): Promise<shapes.PoolRoles> {
    return this.#http.checked(shapes.poolRolesShape, await this.#pool('POST', spec, ['mirror', 'promote'], { body }));
  }

  async demotePool(spec: PoolSpec, body: { after: string | undefined }): Promise<shapes.PoolRoles> {
    return this.#http.checked(shapes.poolRolesShape, await this.#pool('POST', spec, ['mirror', 'demote'], { body }));
  }

  async createBootstrapToken(pool: string, options: { siteName?: string }): Promise<string> {
    const answer = await this.#http.request('POST', ['v1', 'pools', pool, 'mirror', 'bootstrap'], { body: options });
    return this.#http.checked(shapes.bootstrapShape, answer).token;
  }

  async importBootstrapToken(
    pool: string,
    options: { token: string; direction: Direction; siteName?: string; additional?: boolean },
  ): Promise<void> {
    await this.#http.request('POST', ['v1', 'pools', pool, 'mirror', 'bootstrap', 'import'], { body: options });
  }

  /** Gives the peer's uuid. */
  async addPeer(pool: string, peer: NewPeer): Promise<string> {
    const answer = await this.#http.request('POST', ['v1', 'pools', pool, 'mirror', 'peers'], { body: peer });
    return this.#http.checked(shapes.uuidShape, answer).uuid;
  }

  async setPeer(pool: string, uuid: string, change: { key: string; value: string }): Promise<void> {
    await this.#http.request('PATCH', ['v1', 'pools', pool, 'mirror', 'peers', uuid], { body: change });
  }

  async removePeer(pool: string, uuid: string): Promise<void> {
    await this.#http.request('DELETE', ['v1', 'pools', pool, 'mirror', 'peers', uuid]);
  }

  // mirroring of an image

  async enableImage(spec: ImageSpec, mode: ImageMirrorMode): Promise<void> {
    await this.#image('POST', spec, ['mirror'], { body: { mode } });
  }

  async disableImage(spec: ImageSpec, options: { force: boolean }): Promise<void> {
    await this.#image('DELETE', spec, ['mirror'], { query: { force: options.force || undefined } });
  }

  async promoteImage(spec: ImageSpec, options: { force: boolean }): Promise<void> {
    await this.#image('POST', spec, ['mirror', 'promote'], { body: options });
  }

  async demoteImage(spec: ImageSpec): Promise<void> {
    await this.#image('POST', spec, ['mirror', 'demote']);
  }

  async resyncImage(spec: ImageSpec): Promise<void> {
    await this.#image('POST', spec, ['mirror', 'resync']);
  }

  async createMirrorSnapshot(spec: ImageSpec, body: { quiesce?: QuiesceMode } = {}): Promise<number> {
    const made = await this.#image('POST', spec, ['mirror', 'snapshot'], { body });
    return this.#http.checked(shapes.mirrorSnapshotShape, made).id;
  }

  async imageStatus(spec: ImageSpec): Promise<shapes.ImageStatus> {
    return this.#http.checked(shapes.imageStatusShape, await this.#image('GET', spec, ['mirror', 'status']));
  }

  async #get<T>(shape: z.ZodType<T>, segments: readonly string[], query: Query = {}): Promise<T> {
    return this.#http.checked(shape, await this.#http.request('GET', segments, { query }));
  }

  #pool(method: string, spec: PoolSpec, tail: readonly string[], options: RequestOptions = {}): Promise<unknown> {
    return this.#http.request(method, ['v1', 'pools', spec.pool, ...tail], {
      ...options,
      query: { ...options.query, namespace: spec.namespace },
    });
  }

  #image(method: string, spec: ImageSpec, tail: readonly string[], options: RequestOptions = {}): Promise<unknown> {
    return requestImage(this.#http, method, spec, tail, options);
  }
}
