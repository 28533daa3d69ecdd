// Owns a site: its parts put together, and the four ways in (HTTP, tick, message, dead letter). Runtimes build one per process
// or isolate and translate their events to it.
//
// The first call starts the site: probes the bucket's conditional writes and reads or makes site.json. A start that failed is
// tried again by the next call, so a passing fault does not stick. What is kept is the started site, never the promise of it:
// in a Worker an invocation that dies would leave a promise that nobody fulfils. Calls that come together start it together,
// which is harmless.

import type { Bucket } from '../bucket/bucket.ts';
import { probeBucket } from '../bucket/probe.ts';
import type { Clock } from '../clock.ts';
import { FarsideError } from '../errors.ts';
import type { Codec } from '../image/packs/bulk-codec.ts';
import { settingsDefault } from '../image/deps.ts';
import { recordFailure } from '../mirror/failures.ts';
import type { MirrorDeps } from '../mirror/deps.ts';
import { limitsDefault, type DocumentDeps } from '../mirror/limits.ts';
import { mirrorLag, type MirrorLag } from '../mirror/status/lag.ts';
import type { Outcome, Queue } from '../mirror/messages.ts';
import { mirrorBorn } from '../mirror/verbs/by-feature.ts';
import { journalPoints } from '../mirror/primary/points.ts';
import type { Random } from '../random.ts';
import { buildApp } from './api/app.ts';
import { errorBody, statusOf } from './api/errors.ts';
import type { Api } from './api/routing.ts';
import { bearerOf, isConfiguredAdmin } from './auth.ts';
import type { SiteConfig } from './config.ts';
import { dispatch } from './dispatch.ts';
import { httpPeers, type Download } from './peer-http.ts';
import { Seal } from './seal.ts';
import { createOrReadSite, recentSite } from './site-document.ts';
import { tick } from './tick.ts';
import { version } from './version.ts';

export type { SiteConfig } from './config.ts';

export type SiteDeps = {
  bucket: Bucket;
  queue: Queue;
  clock: Clock;
  random: Random;
  fetch: typeof fetch;
  /** Better than `fetch` for packs, where the runtime has it. */
  download?: Download;
  codec?: Codec;
  config: SiteConfig;
  /** One line for the operator; the console when left out. */
  log?: (line: string) => void;
};

type Started = { deps: MirrorDeps; app: Api };

export class Site {
  readonly #deps: SiteDeps;
  readonly #log: (line: string) => void;
  #ready: Started | undefined;

  constructor(deps: SiteDeps) {
    this.#deps = deps;
    // oxlint-disable-next-line no-console -- where Workers and servers log when told nothing else
    this.#log = deps.log ?? ((line) => console.error(line));
  }

  /** Happens by itself; calling it first tells early whether the site can run. EOPNOTSUPP: the bucket is unfit. */
  async start(): Promise<void> {
    await this.#started();
  }

  /** Never throws: what goes wrong is answered. */
  async fetch(request: Request): Promise<Response> {
    try {
      const { app } = await this.#started();
      return await app.fetch(request);
    } catch (error) {
      return this.#answerNotStarted(request, error);
    }
  }

  /** `nowMs`: the time that the tick was due. */
  async tick(nowMs: number): Promise<void> {
    const { deps } = await this.#started();
    await tick(deps, { nowMs, log: this.#log });
  }

  /** How far replicas here are behind their primaries; to be asked after `tick`, by the same process. */
  async lag(): Promise<MirrorLag> {
    const { deps } = await this.#started();
    return mirrorLag(deps, (await recentSite(deps)).pools);
  }

  /** `attempts`: how often the message was delivered, counting from 1. Throws only for bugs and when the site cannot start. */
  async handle(message: unknown, attempts?: number): Promise<Outcome> {
    const { deps } = await this.#started();
    return dispatch(deps, message, attempts);
  }

  /** A message that was given up. Throws when it cannot be recorded. */
  async deadLetter(message: unknown, why: string): Promise<void> {
    const { deps } = await this.#started();
    await recordFailure(deps, message, why);
  }

  async #started(): Promise<Started> {
    return (this.#ready ??= await this.#build());
  }

  async #build(): Promise<Started> {
    const { bucket, queue, clock, random, config, codec, fetch, download } = this.#deps;
    const limits = { ...limitsDefault, ...config.limits };
    const base: DocumentDeps = { bucket, clock, random, limits };
    const seal = new Seal(config.secret, random);
    await probeBucket(bucket, { random });
    const { siteId } = await createOrReadSite(base, config.name);
    const parts: MirrorDeps = {
      ...base,
      queue,
      settings: { ...settingsDefault, ...config.settings },
      site: {
        siteId,
        name: config.name,
        url: config.url,
        version,
        seal: (text) => seal.seal(text),
        unseal: (sealed) => seal.unseal(sealed),
      },
      peers: httpPeers((sealed) => seal.unseal(sealed), { fetch, download }),
      ...(codec && { codec }),
    };
    const pointed: MirrorDeps = { ...parts, points: journalPoints(parts) };
    const spent = (imageId: string): Promise<void> => queue.send([{ type: 'remove', imageId }]).catch(() => undefined);
    const deps: MirrorDeps = { ...pointed, born: mirrorBorn(pointed), spent };
    return { deps, app: buildApp({ deps, config, log: this.#log }) };
  }

  /** Why is for the log, and for the admin, whose token the configuration knows: a store's own words may name accounts. */
  #answerNotStarted(request: Request, error: unknown): Response {
    this.#log(`the site cannot start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    const { name, platform, adminTokenHash } = this.#deps.config;
    if (new URL(request.url).pathname === '/health')
      return Response.json({ status: 'failing', name, platform, version }, { status: 503 });
    const token = bearerOf(request.headers.get('authorization') ?? undefined);
    const isAdmin = token !== undefined && isConfiguredAdmin(adminTokenHash, token);
    const told = isAdmin && error instanceof FarsideError ? error : cannotStart();
    return Response.json(errorBody(told.code, told.message), { status: statusOf[told.code] });
  }
}

const cannotStart = (): FarsideError => new FarsideError('EIO', 'the site cannot start: its log says why');
