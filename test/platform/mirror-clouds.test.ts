// Mirroring between clouds: the Worker of Cloudflare in workerd and the Lambda functions of AWS on Ceph's S3 are each other's
// peers, in both directions, with a failover and back.

import { describe } from 'vitest';
import { freshS3, hasRadosgw } from '../radosgw/radosgw.ts';
import { radosgwEnv, s3Words } from '../radosgw/server.ts';
import { describeMirroring, type PairOptions } from './mirror-scenarios.ts';

async function startPlaces(): Promise<PairOptions> {
  const words = [...s3Words(await freshS3()), '--s3-direct'];
  return (name) => (name === 'site-a' ? { platform: 'miniflare' } : { platform: 'aws', words, env: radosgwEnv });
}

describe.skipIf(!hasRadosgw())('mirroring between a site on Cloudflare and one on AWS:', () => {
  describeMirroring(startPlaces, { short: true });
});
