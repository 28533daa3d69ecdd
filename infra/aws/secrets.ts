// Owns a site's two secrets. Secrets Manager draws them when the stack is made, so that they stand neither in the template nor in
// an environment nor on the operator's disk. They outlive the stack like the bucket, whose sealed keys need the first of them.

import { RemovalPolicy } from 'aws-cdk-lib';
import { Secret, type SecretStringGenerator } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import { accept } from './nag.ts';

/** Letters and digits: 381 random bits, and, the length being a multiple of four, base64 of 48 bytes. */
const drawn: SecretStringGenerator = { passwordLength: 64, excludePunctuation: true, includeSpace: false };

export type Secrets = {
  /** JSON: `{ "secret": … }`, with which keys shown to peers are sealed in the bucket. */
  sealing: Secret;
  /** The admin token itself, for `farside site add`. */
  adminToken: Secret;
};

export function createSecrets(scope: Construct, site: string): Secrets {
  const sealing = new Secret(scope, 'Sealing', {
    description: `farside site ${site}: seals the keys that the site shows to peers`,
    generateSecretString: { ...drawn, secretStringTemplate: '{}', generateStringKey: 'secret' },
    removalPolicy: RemovalPolicy.RETAIN,
  });
  const adminToken = new Secret(scope, 'AdminToken', {
    description: `farside site ${site}: its admin token`,
    generateSecretString: drawn,
    removalPolicy: RemovalPolicy.RETAIN,
  });
  accept(sealing, 'Keys of peers are sealed with it: with another one every peer has to be bootstrapped anew.', 'SMG4');
  accept(
    adminToken,
    'Clients hold a copy of it, so a rotation that they are not told of locks them out. The operator puts a new value and registers the site anew.',
    'SMG4',
  );
  return { sealing, adminToken };
}
