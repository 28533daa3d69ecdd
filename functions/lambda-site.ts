// Owns the making of a Site out of what its Lambda functions are given: environment, secrets, S3 and SQS.

import { Bucket } from '../lib/bucket/bucket.ts';
import { S3Driver } from '../lib/bucket/s3.ts';
import { systemClock } from '../lib/clock.ts';
import { FarsideError } from '../lib/errors.ts';
import { systemRandom } from '../lib/random.ts';
import type { StorePlace } from '../lib/site/config.ts';
import { Site } from '../lib/site/site.ts';
import { parseTuning } from '../lib/site/tuning.ts';
import type { LambdaEnv } from './lambda-env.ts';
import type { LambdaSecrets } from './lambda-secrets.ts';
import type { SqsApi } from './sqs-api.ts';
import { SqsQueue } from './sqs-queue.ts';

export type SiteParts = {
  env: LambdaEnv;
  /** AWS_REGION, which Lambda sets. */
  region: string | undefined;
  secrets: LambdaSecrets;
  sqs: SqsApi;
  log: (line: string) => void;
};

/** `url`: the site's own, when the environment does not say it. */
export function buildSite({ env, region, secrets, sqs, log }: SiteParts, url: string | undefined): Site {
  const deps = { clock: systemClock, random: systemRandom };
  const store = storePlace(env, region);
  return new Site({
    ...deps,
    bucket: new Bucket(new S3Driver(store), deps),
    queue: new SqsQueue(sqs, env.FARSIDE_QUEUE_URL),
    fetch: (input, init) => fetch(input, init),
    config: {
      name: env.FARSIDE_SITE_NAME,
      url: env.FARSIDE_SITE_URL ?? url ?? noUrl(),
      platform: 'aws',
      secret: secrets.secret,
      // No token has an empty hash.
      adminTokenHash: secrets.adminTokenHash ?? '',
      ...(isDirect(env) && { store }),
      ...parseTuning(env.FARSIDE_TUNING),
    },
    log,
  });
}

/** AWS's S3 is reached by everybody; another server perhaps only by the site. */
const isDirect = (env: LambdaEnv): boolean => env.FARSIDE_S3_DIRECT ?? env.FARSIDE_S3_ENDPOINT === undefined;

function storePlace(env: LambdaEnv, region: string | undefined): StorePlace {
  const place = env.FARSIDE_S3_REGION ?? region;
  if (place === undefined)
    throw new FarsideError('EINVAL', 'this site is not configured: neither FARSIDE_S3_REGION nor AWS_REGION is set');
  return {
    kind: 's3',
    bucket: env.FARSIDE_BUCKET,
    region: place,
    ...(env.FARSIDE_S3_ENDPOINT !== undefined && { endpoint: env.FARSIDE_S3_ENDPOINT }),
    ...(env.FARSIDE_S3_PATH_STYLE !== undefined && { pathStyle: env.FARSIDE_S3_PATH_STYLE }),
  };
}

function noUrl(): never {
  throw new FarsideError('EINVAL', 'this site is not configured: FARSIDE_SITE_URL is needed by schedule and consume');
}
