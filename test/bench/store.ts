// Owns where the benchmarks' sites keep their objects, and what plain programs make of the same bytes there, which throughput is
// compared with:
//
//   directory   `node` sites on directories. A plain import is read, SHA-256, write, fsync; a plain copy is HTTP and fsync.
//   s3          sites of AWS's kind on Ceph's radosgw, booted for the run, whose packs go from S3 to peers by redirects. A plain
//               import is read, SHA-256, PUT; a plain copy is GET and PUT; both by the SDK, four objects at a time.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bucket } from '../../lib/bucket/bucket.ts';
import { FileDriver } from '../../lib/bucket/file.ts';
import { prefixes } from '../../lib/bucket/keys.ts';
import { S3Driver } from '../../lib/bucket/s3.ts';
import { systemClock as clock } from '../../lib/clock.ts';
import { systemRandom as random } from '../../lib/random.ts';
import type { Site, SitesOptions } from '../platform/sites.ts';
import { bootRadosgw, endRadosgw, newBucket, radosgwEnv, s3Words, type S3Place } from '../radosgw/server.ts';
import { MiB } from './content.ts';

export const storeNames = ['directory', 's3'] as const;
export type StoreName = (typeof storeNames)[number];

/** Of the images of each case. */
export type Sizes = Record<'importBytes' | 'syncBytes' | 'randomBytes' | 'countedBytes' | 'mapBytes', number>;

/** Where one site's objects are. */
export type Place = {
  options: Pick<SitesOptions, 'platform' | 'words' | 'env'>;
  /** The objects, beside the site. */
  bucketOf: (site: Site) => Bucket;
  /** What a plain import of a file into this place takes, seconds. */
  plainImport: (source: string, scratch: string) => number;
  /** What a plain copy of an image's packs takes from here to another place, seconds. */
  plainCopy: (from: { site: Site; imageId: string }, to: { place: Place; scratch: string }) => Promise<number>;
  /** Of an S3 server. */
  s3?: S3Place;
};

export type Store = {
  name: StoreName;
  label: string;
  sizes: Sizes;
  /** How the two baselines of throughput are described. */
  plainImportText: string;
  plainCopyText: string;
  /** `endpoint`: another way to the same S3 server, which the site and its peers are told. */
  newPlace: (endpoint?: string) => Promise<Place>;
  /** Of the S3 server, if it is one. */
  endpoint?: string;
  stop: () => Promise<void>;
};

export const openStore = (name: StoreName): Promise<Store> => (name === 's3' ? s3Store() : directoryStore());

const plain = join(import.meta.dirname, 'plain.ts');
const plainS3 = join(import.meta.dirname, 'plain-s3.ts');
const deps = { clock, random };

export const timed = (run: () => void): number => {
  const startMs = performance.now();
  run();
  return (performance.now() - startMs) / 1000;
};

const runPlain = (script: string, words: readonly string[], env: Record<string, string> = {}): number =>
  timed(() => execFileSync(process.execPath, [script, ...words], { env: { ...process.env, ...env } }));

async function directoryStore(): Promise<Store> {
  const place: Place = {
    options: { platform: 'node' },
    bucketOf: (site) => new Bucket(new FileDriver(join(site.directory, 'bucket'), deps), deps),
    plainImport: (source, scratch) => {
      const target = join(scratch, 'copy.img');
      const seconds = runPlain(plain, ['copy', source, target]);
      rmSync(target);
      return seconds;
    },
    plainCopy: ({ site, imageId }, { scratch }) => plainCopySeconds(packsDirectory(site, imageId), scratch),
  };
  return {
    name: 'directory',
    label: 'directories: two node sites, objects as files',
    sizes: {
      importBytes: 512 * MiB,
      syncBytes: 1024 * MiB,
      randomBytes: 512 * MiB,
      countedBytes: 1024 * MiB,
      mapBytes: 1024 * MiB,
    },
    plainImportText: 'read + SHA-256 + write + fsync',
    plainCopyText: 'plain HTTP copy of the same objects (4 at a time, fsync each)',
    newPlace: async () => place,
    stop: async () => undefined,
  };
}

/** The file driver keeps each object as a file named after its key and an `@`, with a trailer of a few bytes. */
const packsDirectory = (site: Site, imageId: string): string =>
  join(site.directory, 'bucket', 'objects', prefixes.packs(imageId));

async function plainCopySeconds(packs: string, scratch: string): Promise<number> {
  const target = join(scratch, 'plain');
  mkdirSync(target);
  const server = spawn(process.execPath, [plain, 'serve', packs], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [port] = (await once(server.stdout, 'data')) as [Buffer];
  const seconds = runPlain(plain, ['fetch', port.toString().trim(), target, ...readdirSync(packs)]);
  server.kill('SIGTERM');
  rmSync(target, { recursive: true });
  return seconds;
}

async function s3Store(): Promise<Store> {
  const folder = mkdtempSync(join(tmpdir(), 'farside-bench-s3-'));
  Object.assign(process.env, radosgwEnv);
  // However the run ends: the server is no child of this process.
  process.once('exit', () => {
    endRadosgw(folder);
    rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const endpoint = await bootRadosgw(folder);
  return {
    name: 's3',
    label:
      "S3: two sites of the Lambda functions on one Ceph radosgw of this machine, peers' packs by presigned redirects",
    // Smaller than on directories: a gateway, a monitor and an OSD work on the same processors, at some 100 MB/s.
    sizes: {
      importBytes: 256 * MiB,
      syncBytes: 256 * MiB,
      randomBytes: 256 * MiB,
      // As on directories: requests that every sync has count for less, the more packs there are.
      countedBytes: 1024 * MiB,
      mapBytes: 256 * MiB,
    },
    plainImportText: 'read + SHA-256 + PUT of 8 MiB objects by the SDK, 4 at a time',
    plainCopyText: 'GET and PUT of the same objects by the SDK, 4 at a time',
    newPlace: async (way = endpoint) => s3Place(await newBucket(endpoint), way),
    endpoint,
    stop: async () => endRadosgw(folder),
  };
}

function s3Place(s3: S3Place, way: string): Place {
  const bucket = new Bucket(new S3Driver(s3), deps);
  const asPlain = (command: string, ...words: string[]): number =>
    runPlain(plainS3, [command, s3.endpoint, s3.bucket, ...words], radosgwEnv);
  return {
    options: { platform: 'aws', words: [...s3Words({ ...s3, endpoint: way }), '--s3-direct'], env: radosgwEnv },
    bucketOf: () => bucket,
    plainImport: (source) => asPlain('put', source),
    plainCopy: async ({ imageId }, { place }) => {
      const keys: string[] = [];
      for await (const { key } of bucket.listAll(prefixes.packs(imageId))) keys.push(key);
      return asPlain('copy', place.s3!.bucket, ...keys);
    },
    s3,
  };
}
