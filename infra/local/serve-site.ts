// Owns the life of a local site in this process: directory, lock, port, secrets, platform, heartbeat; and their end, in reverse.
//
// A start that fails leaves no lock and no server behind. A kill at any point leaves a directory that the next start accepts.

import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { SiteConfig } from '../../lib/site/config.ts';
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
  tickSeconds: number;
  tuning?: SiteTuning;
};

export type ServeDeps = { clock: Clock; random: Random; log: (line: string) => void };

export type ServedSite = { url: string; platform: LocalPlatform; adminToken: string; stop(): Promise<void> };

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
  const config = siteConfig(local, url, secrets, start.tuning);
  const site = await startPlatform(local.platform, {
    directory: start.directory,
    port: local.port,
    config,
    log: deps.log,
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
  const site: LocalSite = {
    version: 1,
    name: checkSiteName(start.name),
    platform: start.platform ?? present?.platform ?? 'miniflare',
    port: start.port ?? present?.port ?? (await choosePort(random)),
  };
  writeLocalSite(start.directory, site);
  return site;
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
  return (await import('./miniflare-site.ts')).startMiniflareSite(options);
}
