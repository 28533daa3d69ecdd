// A client of a site in this process that moves image data itself, through the store endpoint: as the CLI's data path does.

import { Bucket } from '../../lib/bucket/bucket.ts';
import { HttpDriver } from '../../lib/bucket/http.ts';
import { clientPoints, JournalClient } from '../../lib/cli/client/journal.ts';
import { SiteHttp } from '../../lib/cli/client/http.ts';
import { settingsDefault, type ImageDeps } from '../../lib/image/deps.ts';
import { systemRandom } from '../../lib/random.ts';
import { adminToken, type TestSite } from './harness.ts';
import type { TestNetwork } from './network.ts';

export class StoreClient {
  readonly journal: JournalClient;
  readonly deps: ImageDeps;

  constructor({ fetch }: TestNetwork, { clock, config: { name, url } }: TestSite) {
    const parts = { clock, random: systemRandom };
    this.journal = new JournalClient(new SiteHttp({ name, url, token: adminToken, platform: 'workers' }, fetch));
    this.deps = {
      ...parts,
      bucket: new Bucket(new HttpDriver({ url, token: adminToken, fetch }), parts),
      settings: settingsDefault,
      points: clientPoints(this.journal, parts),
    };
  }
}
