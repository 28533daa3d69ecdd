// Owns a site's bucket: all of its state.

import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  ObjectLockRetention,
  ObjectOwnership,
  type LifecycleRule,
} from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { accept } from './nag.ts';
import type { SiteSettings } from './settings.ts';

const uploadDays = 1;

/** Outlives its stack: deleting a site must not delete the disks. */
export function createBucket(scope: Construct, { objectLockDays, objectLockMode }: SiteSettings): Bucket {
  const bucket = new Bucket(scope, 'Bucket', {
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
    encryption: BucketEncryption.S3_MANAGED,
    enforceSSL: true,
    minimumTLSVersion: 1.2,
    removalPolicy: RemovalPolicy.RETAIN,
    lifecycleRules: [
      { id: 'aborted-uploads', abortIncompleteMultipartUploadAfter: Duration.days(uploadDays) },
      ...(objectLockDays === undefined ? [] : [replacedVersions(objectLockDays)]),
    ],
    ...(objectLockDays === undefined
      ? {}
      : {
          versioned: true,
          objectLockEnabled: true,
          objectLockDefaultRetention: ObjectLockRetention[objectLockMode](Duration.days(objectLockDays)),
        }),
  });
  accept(
    bucket,
    'An access log has a line for each of the requests that a site makes every minute, and answers no question that the log of ' +
      'the http function does not. CloudTrail data events record the same where an auditor asks for it.',
    'S1',
  );
  return bucket;
}

/** Object Lock keeps every version that was replaced or deleted; nothing reads them but whoever restores. */
const replacedVersions = (objectLockDays: number): LifecycleRule => ({
  id: 'replaced-versions',
  noncurrentVersionExpiration: Duration.days(objectLockDays),
  expiredObjectDeleteMarker: true,
});
