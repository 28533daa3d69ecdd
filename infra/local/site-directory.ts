// Owns the layout of a local site's directory, and the two small files that make a restart the same site again:
//
//   site-local.json     name, platform, port, announced URL, and the aws platform's bucket. The port never changes by itself: peers
//                       have recorded the URL
//   site-secrets.json   0600: the admin token and the site's secret. The bucket only ever holds hashes of tokens
//   site.lock           who serves the directory now (site-lock.ts)
//   site.log            what a detached server says
//   bucket/             the node platform's objects          state/    miniflare's
//
// Files are written aside and renamed: a crash leaves the old one or the new one.

import {
  chmodSync,
  mkdirSync,
  openSync,
  closeSync,
  fsyncSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { FarsideError } from '../../lib/errors.ts';
import { parseJson } from '../../lib/json.ts';
import type { Random } from '../../lib/random.ts';

export const platforms = ['miniflare', 'node', 'aws'] as const;
export type LocalPlatform = (typeof platforms)[number];

const localS3Schema = z.object({
  bucket: z.string().min(1),
  region: z.string().min(1),
  /** Undefined: AWS's own. */
  endpoint: z.url().optional(),
  pathStyle: z.boolean(),
  /** Whether peers and clients reach the endpoint themselves. */
  direct: z.boolean(),
});
export type LocalS3 = z.infer<typeof localS3Schema>;

const localSchema = z.object({
  version: z.literal(1),
  name: z.string().min(1),
  platform: z.enum(platforms),
  port: z.int().min(1).max(65_535),
  /** Where peers reach the site, if not at its port on this machine. */
  announcedUrl: z.url().optional(),
  s3: localS3Schema.optional(),
  sqsEndpoint: z.url().optional(),
});
export type LocalSite = z.infer<typeof localSchema>;

const secretsSchema = z.object({
  version: z.literal(1),
  adminToken: z.string().regex(/^fs_admin_[\w-]{43}$/),
  secret: z.string().regex(/^[\w+/]{43}=$/),
});
export type SiteSecrets = z.infer<typeof secretsSchema>;

const secretBytes = 32;
const othersMayReadMask = 0o077;

/** A site's name is part of a directory's and a queue's name. */
const nameShape = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;

export function checkSiteName(name: string): string {
  if (!nameShape.test(name)) {
    throw new FarsideError(
      'EINVAL',
      `invalid site name '${name}': use at most 40 lower-case letters, digits and inner hyphens`,
    );
  }
  return name;
}

export const sitePaths = (directory: string) => ({
  bucket: join(directory, 'bucket'),
  state: join(directory, 'state'),
  temporary: join(directory, 'tmp'),
  log: join(directory, 'site.log'),
  workerdPid: join(directory, 'workerd.pid'),
});

export function createSiteDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}

/** Undefined for a directory in which no site was ever started. */
export function readLocalSite(directory: string): LocalSite | undefined {
  return readJson(join(directory, 'site-local.json'), localSchema);
}

export function writeLocalSite(directory: string, site: LocalSite): void {
  writeWhole(join(directory, 'site-local.json'), site);
}

/** Refuses (EINVAL) to start another site, or on another platform, in the directory of `present`. */
export function checkSameSite(present: LocalSite | undefined, start: StartedAs): void {
  if (present !== undefined && present.name !== start.name) {
    throw new FarsideError(
      'EINVAL',
      `${start.directory} belongs to site '${present.name}': choose another directory with --dir`,
    );
  }
  if (present !== undefined && start.platform !== undefined && present.platform !== start.platform) {
    throw new FarsideError(
      'EINVAL',
      `site '${start.name}' keeps its objects as platform '${present.platform}' does: start it with --platform ${present.platform}`,
    );
  }
}

type StartedAs = { name: string; directory: string; platform?: LocalPlatform | undefined };

/** Made at the first start, read ever after. Throws EACCES when others may read the file. */
export function readOrCreateSecrets(directory: string, random: Random): SiteSecrets {
  const path = join(directory, 'site-secrets.json');
  const present = readJson(path, secretsSchema);
  if (present === undefined) return createSecrets(path, random);
  if ((statSync(path).mode & othersMayReadMask) !== 0) {
    throw new FarsideError('EACCES', `${path} can be read by others: check who did, then run: chmod 600 '${path}'`);
  }
  return present;
}

function createSecrets(path: string, random: Random): SiteSecrets {
  const secrets: SiteSecrets = {
    version: 1,
    adminToken: `fs_admin_${Buffer.from(random.bytes(secretBytes)).toString('base64url')}`,
    secret: Buffer.from(random.bytes(secretBytes)).toString('base64'),
  };
  writeWhole(path, secrets);
  return secrets;
}

function readJson<T>(path: string, schema: z.ZodType<T>): T | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(parseJson(text));
  if (!parsed.success)
    throw new FarsideError('EBADMSG', `${path} is malformed: restore it, or start a new site in another directory`);
  return parsed.data;
}

function writeWhole(path: string, value: object): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  chmodSync(temporary, 0o600);
  const file = openSync(temporary, 'r');
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, path);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
}
