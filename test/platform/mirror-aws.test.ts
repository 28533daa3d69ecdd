// Mirroring between two sites of AWS's kind, the very Lambda handlers on Ceph's S3 and a server that speaks SQS: the bucket of one
// is reached by its peer and its users themselves, by presigned redirects and with credentials of their own; the other is
// self-hosted, behind its own door. (Queues in memory: mirror-clouds.test.ts.)

import { afterAll, describe } from 'vitest';
import { startLocalAws, type LocalAws } from '../local-aws.ts';
import { freshS3, hasRadosgw } from '../radosgw/radosgw.ts';
import { radosgwEnv, s3Words } from '../radosgw/server.ts';
import { describeMirroring, type PairOptions } from './mirror-scenarios.ts';

let sqs: LocalAws | undefined;
afterAll(() => sqs?.stop());

async function startPlaces(): Promise<PairOptions> {
  const [first, second] = [await freshS3(), await freshS3()];
  sqs = await startLocalAws();
  const queues = ['--sqs-endpoint', sqs.endpoint];
  const direct = [...s3Words(first), '--s3-direct'];
  return (name) => ({
    platform: 'aws',
    words: [...(name === 'site-a' ? direct : s3Words(second)), ...queues],
    env: radosgwEnv,
  });
}

describe.skipIf(!hasRadosgw())('mirroring between two sites on S3:', () => {
  describeMirroring(startPlaces, { isDirect: true });
});
