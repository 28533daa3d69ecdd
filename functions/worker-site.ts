// Owns the one Site of an isolate: built from the first event's environment and kept for the next ones, with its caches.

import { Bucket } from '../lib/bucket/bucket.ts';
import { R2Driver } from '../lib/bucket/r2.ts';
import { systemClock } from '../lib/clock.ts';
import { systemRandom } from '../lib/random.ts';
import { Site } from '../lib/site/site.ts';
import { parseTuning } from '../lib/site/tuning.ts';
import { BoundQueue } from './queue-binding.ts';
import type { WorkerEnv } from './worker-env.ts';

let site: Site | undefined;

export function siteOf(env: WorkerEnv): Site {
  site ??= buildSite(env);
  return site;
}

function buildSite(env: WorkerEnv): Site {
  const deps = { clock: systemClock, random: systemRandom };
  return new Site({
    ...deps,
    bucket: new Bucket(new R2Driver(env.BUCKET), deps),
    queue: new BoundQueue(env.QUEUE),
    fetch: (input, init) => fetch(input, init),
    config: {
      name: env.SITE_NAME,
      url: env.SITE_URL,
      platform: env.SITE_PLATFORM,
      adminTokenHash: env.FARSIDE_ADMIN_TOKEN_HASH,
      secret: env.FARSIDE_SECRET,
      ...parseTuning(env.FARSIDE_TUNING),
    },
  });
}
