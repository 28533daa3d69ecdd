// Owns the CLI's way to a site's bucket, for the data path: straight into the directory of a local Node site; into the site's S3
// bucket, with the user's own credentials, where the site says so; else through the site's store endpoint.

import { join } from 'node:path';
import { Bucket } from '../../bucket/bucket.ts';
import type { Driver } from '../../bucket/driver.ts';
import { FileDriver } from '../../bucket/file.ts';
import { HttpDriver } from '../../bucket/http.ts';
import { OnDemandDriver } from '../../bucket/on-demand.ts';
import { settingsDefault, type ImageDeps } from '../../image/deps.ts';
import { ThreadedCodec } from '../../node/threaded-codec.ts';
import { parseTuning } from '../../site/tuning.ts';
import { clientPoints, JournalClient, tellOfBirth } from '../client/journal.ts';
import type { Terminal } from './context.ts';
import { SiteHttp } from '../client/http.ts';
import type { Registration } from './registry.ts';

type BucketTerminal = Pick<Terminal, 'clock' | 'random' | 'fetch'>;
type DepsTerminal = BucketTerminal & Pick<Terminal, 'env'>;

export function openBucket(site: Registration, terminal: BucketTerminal): Bucket {
  const { clock, random } = terminal;
  return new Bucket(driverOf(site, terminal), { clock, random });
}

function driverOf(site: Registration, terminal: BucketTerminal): Driver {
  if (site.platform === 'node' && site.directory !== undefined)
    return new FileDriver(join(site.directory, 'bucket'), terminal);
  const { store } = site;
  if (store)
    return new OnDemandDriver(store.kind, async () => new (await import('../../bucket/s3.ts')).S3Driver(store));
  return new HttpDriver({ url: site.url, token: site.token, fetch: terminal.fetch });
}

/** Under the same FARSIDE_TUNING as a site: the data path is the same engine. */
export function imageDeps(site: Registration, terminal: DepsTerminal): ImageDeps {
  const http = new SiteHttp(site, terminal.fetch);
  return {
    bucket: openBucket(site, terminal),
    clock: terminal.clock,
    random: terminal.random,
    settings: { ...settingsDefault, ...parseTuning(terminal.env['FARSIDE_TUNING']).settings },
    codec: new ThreadedCodec(),
    points: clientPoints(new JournalClient(http), terminal),
    born: tellOfBirth(http),
  };
}
