// `site start`: a site on this machine, in the foreground or detached. The server itself is infra/local; here are its words,
// its registration and its end.

import { join, resolve } from 'node:path';
import { startDetached } from '../../../infra/local/detach.ts';
import { checkPortFree } from '../../../infra/local/free-port.ts';
import type { ServedSite, SiteStart } from '../../../infra/local/serve-site.ts';
import {
  checkSameSite,
  checkSiteName,
  platforms,
  readLocalSite,
  sitePaths,
} from '../../../infra/local/site-directory.ts';
import { lockHolder } from '../../../infra/local/site-lock.ts';
import { recordedPid } from '../../../infra/local/workerd-guard.ts';
import { defineCommand } from '../command.ts';
import type { Context } from '../sites/context.ts';
import { FarsideError } from '../../errors.ts';
import { parseTuning } from '../../site/tuning.ts';
import { invalidOption } from '../parse/grammar.ts';
import { answers, siteNameOption, withoutPid } from '../sites/local-sites.ts';
import { choiceOption, integerOption, parsedOption, switchOption, textOption } from '../parse/parameters.ts';
import { changeSite, findSite } from '../sites/registry.ts';
import { nextSignal } from '../signals.ts';
import { parseSiteUrl } from '../parse/site-url.ts';

const tickSecondsDefault = 60;

export const siteStart = defineCommand({
  path: 'site start',
  summary: 'start a site on this machine',
  description: `The default platform, miniflare, runs the very Worker that is deployed to Cloudflare, with its objects in the directory. The
platform node runs the same site in plain Node: faster, for a self-hosted site. The platform aws runs the Lambda functions that are
deployed to AWS, with their objects on any S3 server whose conditional writes are sound (Ceph RGW, MinIO, AWS); credentials come from the
environment or AWS's configuration files. A site keeps its platform, its port and its bucket.
In the foreground it runs until it is interrupted; with --detach until 'farside site stop'.`,
  arguments: {},
  options: {
    name: siteNameOption,
    directory: textOption('--dir <directory>', 'directory of the site (default: sites/<name> in FARSIDE_HOME)'),
    port: integerOption('--port <port>', 'port on 127.0.0.1 (default: a free one, which the site then keeps)', {
      min: 0,
      max: 65_535,
    }),
    tickSeconds: parsedOption(
      '--tick-seconds <seconds>',
      `seconds between ticks (default: ${tickSecondsDefault})`,
      parseTickSeconds,
    ),
    detach: switchOption('--detach', 'run in the background; returns when the site answers'),
    platform: choiceOption('--platform <platform>', 'what to run on (default: miniflare)', platforms),
    url: textOption('--url <url>', 'address that peers are told (default: the port on 127.0.0.1)'),
    s3Bucket: textOption('--s3-bucket <bucket>', 'aws: bucket of the site; it has to be there'),
    s3Endpoint: textOption('--s3-endpoint <url>', 'aws: S3 server (default: AWS)'),
    s3Region: textOption('--s3-region <region>', 'aws: region of the bucket (default: us-east-1)'),
    s3PathStyle: switchOption('--s3-path-style', 'aws: address buckets by path (default: with --s3-endpoint)'),
    s3Direct: switchOption(
      '--s3-direct',
      'aws: peers and clients reach the S3 server too, and move image data there (default: without --s3-endpoint)',
    ),
    sqsEndpoint: textOption('--sqs-endpoint <url>', 'aws: SQS server (default: queues in memory)'),
  },
  examples: [
    'farside site start --name site-a --detach',
    'farside site start --name backup --platform node --dir /srv/backup --port 8471',
    'farside site start --name rgw --platform aws --s3-endpoint http://rgw.example:7480 --s3-bucket farside',
  ],
  async run({ options, context }) {
    const name = checkSiteName(options.name);
    const directory = resolve(
      options.directory ?? (await knownDirectory(context, name)) ?? join(context.home, 'sites', name),
    );
    const start: SiteStart = {
      name,
      directory,
      platform: options.platform,
      port: options.port || undefined,
      tickSeconds: options.tickSeconds ?? tickSecondsDefault,
      announcedUrl: options.url === undefined ? undefined : parseSiteUrl(options.url),
      s3: definedOf({
        bucket: options.s3Bucket,
        endpoint: parseEndpoint('--s3-endpoint', options.s3Endpoint),
        region: options.s3Region,
        pathStyle: options.s3PathStyle || undefined,
        direct: options.s3Direct || undefined,
      }),
      sqsEndpoint: parseEndpoint('--sqs-endpoint', options.sqsEndpoint),
    };
    checkAwsOptions(start);
    await checkStartable(context, start);
    await (options.detach ? detach(start, context) : serve(start, context));
  },
});

type Defined<T> = { [K in keyof T]?: NonNullable<T[K]> };

const definedOf = <T extends Record<string, unknown>>(values: T): Defined<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;

function parseEndpoint(option: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '') throw invalidOption(option);
  return url.href.replace(/\/$/, '');
}

function checkAwsOptions({ platform, s3, sqsEndpoint, directory }: SiteStart): void {
  const isAws = (platform ?? readLocalSite(directory)?.platform) === 'aws';
  if (isAws || (Object.keys(s3 ?? {}).length === 0 && sqsEndpoint === undefined)) return;
  throw new FarsideError('EINVAL', '--s3-… and --sqs-endpoint are options of --platform aws');
}

/** Whole seconds, or tenths for tests and demonstrations. */
function parseTickSeconds(text: string): number {
  const seconds = /^\d{1,5}(\.\d)?$/.test(text) ? Number(text) : 0;
  if (seconds <= 0) throw invalidOption('--tick-seconds');
  return seconds;
}

async function knownDirectory(context: Context, name: string): Promise<string | undefined> {
  return (await findSite(context.home, name))?.directory;
}

/** So that a user hears it with its exit code; the server checks again, under its lock. */
async function checkStartable(context: Context, start: SiteStart): Promise<void> {
  const { name, directory } = start;
  const present = await findSite(context.home, name);
  if (present !== undefined && present.directory !== directory) {
    throw new FarsideError(
      'EEXIST',
      `site '${name}' is registered already (${present.directory ?? present.url})\nforget it with 'farside site remove --name ${name}', or choose another name`,
    );
  }
  const holder = lockHolder(directory);
  if (holder !== undefined) throw new FarsideError('EBUSY', `site '${name}' runs already (pid ${holder.pid})`);
  const local = readLocalSite(directory);
  checkSameSite(local, start);
  const port = start.port ?? local?.port;
  // What a killed server left behind may hold the port: the new one ends it first, and then looks.
  const leftover = recordedPid(sitePaths(directory).workerdPid);
  if (port !== undefined && leftover === undefined) await checkPortFree(port);
}

async function serve(start: SiteStart, context: Context): Promise<void> {
  const { serveSite } = await import('../../../infra/local/serve-site.ts');
  const { clock, random, env, stderr } = context.terminal;
  const log = (line: string): void => void stderr.write(`${new Date(clock.nowMs()).toISOString()} ${line}\n`);
  const interrupted = nextSignal();
  const site = await serveSite({ ...start, tuning: parseTuning(env['FARSIDE_TUNING']) }, { clock, random, log });
  await register(start, context, site);
  context.output.line(`${start.name} is up: ${site.url} (${site.platform}, pid ${process.pid}, ${start.directory})`);
  log(`stopping: ${await interrupted}`);
  await site.stop();
  await changeSite(context.home, start.name, (present) => (present === undefined ? undefined : withoutPid(present)));
  // Timers of delayed messages would hold the process for no use.
  process.exit(0);
}

async function register(start: SiteStart, context: Context, site: ServedSite): Promise<void> {
  await changeSite(context.home, start.name, () => ({
    name: start.name,
    url: site.url,
    token: site.adminToken,
    platform: site.platform,
    pid: process.pid,
    directory: start.directory,
    ...(site.store && { store: site.store }),
  }));
}

function awsWords({ s3 = {}, sqsEndpoint }: SiteStart): string[] {
  const named = {
    '--s3-bucket': s3.bucket,
    '--s3-endpoint': s3.endpoint,
    '--s3-region': s3.region,
    '--sqs-endpoint': sqsEndpoint,
  };
  return [
    ...Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [name, value])),
    ...(s3.pathStyle ? ['--s3-path-style'] : []),
    ...(s3.direct ? ['--s3-direct'] : []),
  ];
}

async function detach(start: SiteStart, context: Context): Promise<void> {
  const { clock, env, fetch } = context.terminal;
  const words = [
    'site',
    'start',
    '--name',
    start.name,
    '--dir',
    start.directory,
    '--tick-seconds',
    String(start.tickSeconds),
  ];
  if (start.platform !== undefined) words.push('--platform', start.platform);
  if (start.port !== undefined) words.push('--port', String(start.port));
  if (start.announcedUrl !== undefined) words.push('--url', start.announcedUrl);
  words.push(...awsWords(start));
  const isReady = async (pid: number): Promise<boolean> => {
    const site = await findSite(context.home, start.name);
    return site?.pid === pid && (await answers(site.url, fetch));
  };
  const pid = await startDetached({
    directory: start.directory,
    words,
    env: { ...env, FARSIDE_HOME: context.home },
    clock,
    isReady,
  });
  const site = await findSite(context.home, start.name);
  context.output.line(`${start.name} is up: ${site?.url} (${site?.platform}, pid ${pid}, ${start.directory})`);
}
