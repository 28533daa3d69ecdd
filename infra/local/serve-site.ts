// Owns the life of a local site in this process: directory, lock, port, secrets, platform, heartbeat; and their end, in reverse.
//
// A start that fails leaves no lock and no server behind. A kill at any point leaves a directory that the next start accepts.

import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { FarsideError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import type { SiteConfig, StorePlace } from '../../lib/site/config.ts';
import type { SiteTuning } from '../../lib/site/tuning.ts';
import { choosePort, loopback } from './free-port.ts';
import type { LocalSiteOptions, RunningSite } from './local-site.ts';
import {
  checkSameSite,
  checkSiteName,
  createSiteDirectory,
  readLocalSite,
  readOrCreateSecrets,
  writeLocalSite,
  type LocalPlatform,
  type LocalS3,
  type LocalSite,
  type SiteSecrets,
} from './site-directory.ts';
import { lockSite } from './site-lock.ts';
import { startTicker } from './ticker.ts';

export type SiteStart = {
  name: string;
  directory: string;
  /** Undefined: the one that the directory was started with, else miniflare. */
  platform?: LocalPlatform | undefined;
  /** Undefined: the remembered one, else a free one, which is then remembered. */
  port?: number | undefined;
  /** Undefined: the remembered one. `s3` names what differs from it. */
  announcedUrl?: string | undefined;
  s3?: Partial<LocalS3> | undefined;
  sqsEndpoint?: string | undefined;
  tickSeconds: number;
  tuning?: SiteTuning;
};

export type ServeDeps = { clock: Clock; random: Random; log: (line: string) => void };

export type ServedSite = {
  /** On this machine. */
  url: string;
  platform: LocalPlatform;
  adminToken: string;
  /** Where clients read and write image data themselves. */
  store?: StorePlace | undefined;
  stop(): Promise<void>;
};

export async function serveSite(start: SiteStart, deps: ServeDeps): Promise<ServedSite> {
  const directory = resolve(start.directory);
  createSiteDirectory(directory);
  const lock = lockSite(directory);
  try {
    return await serveLocked({ ...start, directory }, deps, () => lock.release());
  } catch (cause) {
    lock.release();
    throw cause;
  }
}

async function serveLocked(start: SiteStart, deps: ServeDeps, release: () => void): Promise<ServedSite> {
  const local = await settleLocalSite(start, deps.random);
  const secrets = readOrCreateSecrets(start.directory, deps.random);
  const url = `http://${loopback}:${local.port}`;
  const config = siteConfig(local, local.announcedUrl ?? url, secrets, start.tuning);
  const site = await startPlatform(local.platform, {
    directory: start.directory,
    port: local.port,
    config,
    log: deps.log,
    s3: local.s3,
    sqsEndpoint: local.sqsEndpoint,
  });
  const ticker = startTicker({
    clock: deps.clock,
    log: deps.log,
    intervalMs: start.tickSeconds * 1000,
    tick: (nowMs) => site.tick(nowMs),
  });
  return {
    url,
    platform: local.platform,
    adminToken: secrets.adminToken,
    store: storeOf(local),
    stop: async () => {
      await Promise.all([ticker.stop(), site.stop()]);
      release();
    },
  };
}

/** Decides what this directory's site is, now and at every later start. */
async function settleLocalSite(start: SiteStart, random: Random): Promise<LocalSite> {
  const present = readLocalSite(start.directory);
  checkSameSite(present, start);
  const platform = start.platform ?? present?.platform ?? 'miniflare';
  const s3 = platform === 'aws' ? settleS3(present?.s3, start.s3) : undefined;
  const announcedUrl = start.announcedUrl ?? present?.announcedUrl;
  const sqsEndpoint = start.sqsEndpoint ?? present?.sqsEndpoint;
  const site: LocalSite = {
    version: 1,
    name: checkSiteName(start.name),
    platform,
    port: start.port ?? present?.port ?? (await choosePort(random)),
    ...(announcedUrl !== undefined && { announcedUrl }),
    ...(s3 && { s3 }),
    ...(sqsEndpoint !== undefined && { sqsEndpoint }),
  };
  writeLocalSite(start.directory, site);
  return site;
}

const regionDefault = 'us-east-1';

/** A server that is not AWS is reached by its site alone unless said otherwise, and has no names of buckets in its host's. */
function settleS3(present: LocalS3 | undefined, start: Partial<LocalS3> = {}): LocalS3 {
  const endpoint = start.endpoint ?? present?.endpoint;
  const bucket = start.bucket ?? present?.bucket;
  if (bucket === undefined)
    throw new FarsideError(
      'EINVAL',
      'the bucket was not specified: give --s3-bucket, and --s3-endpoint unless it is AWS',
    );
  if (present !== undefined && (present.bucket !== bucket || present.endpoint !== endpoint))
    throw new FarsideError(
      'EINVAL',
      `this site's objects are in bucket '${present.bucket}' of ${present.endpoint ?? 'AWS'}`,
    );
  return {
    bucket,
    region: start.region ?? present?.region ?? regionDefault,
    ...(endpoint !== undefined && { endpoint }),
    pathStyle: start.pathStyle ?? present?.pathStyle ?? endpoint !== undefined,
    direct: start.direct ?? present?.direct ?? endpoint === undefined,
  };
}

function storeOf({ s3 }: LocalSite): StorePlace | undefined {
  if (!s3?.direct) return undefined;
  const { direct: _, ...place } = s3;
  return { kind: 's3', ...place };
}

function siteConfig(local: LocalSite, url: string, secrets: SiteSecrets, tuning: SiteTuning | undefined): SiteConfig {
  return {
    name: local.name,
    url,
    platform: local.platform,
    adminTokenHash: createHash('sha256').update(secrets.adminToken).digest('hex'),
    secret: secrets.secret,
    ...tuning,
  };
}

/** Loaded on demand: Miniflare takes a moment that a node site need not wait for. */
async function startPlatform(platform: LocalPlatform, options: LocalSiteOptions): Promise<RunningSite> {
  if (platform === 'node') return (await import('./node-site.ts')).startNodeSite(options);
  if (platform === 'aws') return (await import('./aws-site.ts')).startAwsSite(options);
  return (await import('./miniflare-site.ts')).startMiniflareSite(options);
}
