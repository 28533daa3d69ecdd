// A started TestSite, with its app at hand for tests that look at the routes themselves.

import { settingsDefault } from '../../lib/image/deps.ts';
import type { MirrorDeps } from '../../lib/mirror/deps.ts';
import { limitsDefault } from '../../lib/mirror/limits.ts';
import { systemRandom } from '../../lib/random.ts';
import { buildApp } from '../../lib/site/api/app.ts';
import type { Api } from '../../lib/site/api/routing.ts';
import { TestSite, type TestSiteOptions } from './harness.ts';

export type StartedSite = TestSite & { app: Api };

export async function startedSite(options: TestSiteOptions = {}): Promise<StartedSite> {
  const site = new TestSite(options);
  await site.site.start();
  const { bucket, clock, queue, config } = site;
  const unused = async (): Promise<never> => {
    throw new Error('the app is only looked at');
  };
  const identity = { siteId: 'id', name: config.name, url: config.url, seal: unused, unseal: unused };
  const deps: MirrorDeps = {
    bucket,
    clock,
    queue,
    random: systemRandom,
    settings: settingsDefault,
    limits: limitsDefault,
    site: identity,
    peers: unused,
  };
  return Object.assign(site, { app: buildApp({ deps, config, log: (line) => site.log.push(line) }) });
}
