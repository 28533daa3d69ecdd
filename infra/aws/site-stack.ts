// Owns a site on AWS as one CloudFormation stack: its parts put together, and what it tells whoever deployed it.

import { CfnOutput, Stack } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import { createAlarms } from './alarms.ts';
import { createFunctions } from './functions.ts';
import { createQueues } from './queues.ts';
import { createSecrets, type Secrets } from './secrets.ts';
import type { SiteSettings } from './settings.ts';
import { createBucket } from './storage.ts';

export class SiteStack extends Stack {
  constructor(scope: Construct, settings: SiteSettings) {
    const { site } = settings;
    super(scope, `farside-${site}`, { description: `farside site ${site}`, analyticsReporting: false });
    const bucket = createBucket(this, settings);
    const queues = createQueues(this);
    const secrets = createSecrets(this, site);
    const functions = createFunctions(this, { bucket, queues, secrets, settings });
    const alarms = createAlarms(this, { functions, queues, settings });
    const outputs = {
      SiteUrl: functions.siteUrl,
      BucketName: bucket.bucketName,
      AlarmTopic: alarms.topicArn,
      AdminTokenSecret: secrets.adminToken.secretArn,
      SealingSecret: secrets.sealing.secretArn,
      ReadToken: readTokenCommand(this, site, secrets),
      AddSite: `farside site add --name ${site} --url ${functions.siteUrl} --token-file ${site}.token`,
    };
    for (const [name, value] of Object.entries(outputs)) new CfnOutput(this, name, { value });
  }
}

const readTokenCommand = ({ region }: Stack, site: string, { adminToken }: Secrets): string =>
  `(umask 077; aws secretsmanager get-secret-value --region ${region} --secret-id ${adminToken.secretArn} --query SecretString --output text > ${site}.token)`;
