// Owns a site's three functions: one bundle with three handlers, a role for each with no more than it needs, and what invokes them.

import { Duration, Fn, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Effect, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  Architecture,
  FunctionUrlAuthType,
  InvokeMode,
  RecursiveLoop,
  Runtime,
  type FunctionUrl,
} from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { NodejsFunction, OutputFormat, type BundlingOptions } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { Bucket } from 'aws-cdk-lib/aws-s3';
import { CfnSchedule } from 'aws-cdk-lib/aws-scheduler';
import type { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import type { Construct } from 'constructs';
import { fileURLToPath } from 'node:url';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { consumersMax, deadLetterConsumersMax, functionSizes } from './function-sizes.ts';
import { accept } from './nag.ts';
import type { Queues } from './queues.ts';
import type { Secrets } from './secrets.ts';
import type { SiteSettings } from './settings.ts';

export type SiteParts = { bucket: Bucket; queues: Queues; secrets: Secrets; settings: SiteSettings };
export type SiteFunctions = {
  http: NodejsFunction;
  schedule: NodejsFunction;
  consume: NodejsFunction;
  siteUrl: string;
};

type Handler = keyof typeof functionSizes;

const bundling: BundlingOptions = {
  format: OutputFormat.ESM,
  target: 'node24',
  minify: true,
  keepNames: true,
  sourceMap: true,
  sourcesContent: false,
  mainFields: ['module', 'main'],
  // The SDK of package-lock.json, not the one that the runtime happens to have.
  externalModules: [],
  // For packages that are CommonJS inside.
  banner: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
};

export function createFunctions(scope: Construct, parts: SiteParts): SiteFunctions {
  const { queues, secrets, settings } = parts;
  const http = createFunction(scope, 'http', parts);
  http.addEnvironment('FARSIDE_ADMIN_TOKEN_PARAMETER', secrets.adminToken.secretArn);
  allowReading(http, secrets.adminToken);
  const siteUrl = settings.siteUrl ?? urlWithoutSlash(addUrl(http));
  const schedule = createFunction(scope, 'schedule', parts);
  const consume = createFunction(scope, 'consume', parts);
  // A function cannot be told the URL that is made of it: http goes by the domain name of its requests.
  for (const one of settings.siteUrl === undefined ? [schedule, consume] : [http, schedule, consume])
    one.addEnvironment('FARSIDE_SITE_URL', siteUrl);
  everyMinute(scope, schedule);
  feed(consume, queues.queue, consumersMax);
  feed(consume, queues.deadLetters, deadLetterConsumersMax);
  return { http, schedule, consume, siteUrl };
}

function createFunction(scope: Construct, handler: Handler, parts: SiteParts): NodejsFunction {
  const { bucket, queues, secrets, settings } = parts;
  const id = `${handler[0]!.toUpperCase()}${handler.slice(1)}`;
  const logGroup = new LogGroup(scope, `${id}Log`, {
    retention: RetentionDays.ONE_MONTH,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  const role = new Role(scope, `${id}Role`, { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  const created = new NodejsFunction(scope, id, {
    description: `farside site ${settings.site}: ${handler}`,
    entry: fileURLToPath(new URL('../../functions/lambda.ts', import.meta.url)),
    depsLockFilePath: fileURLToPath(new URL('../../package-lock.json', import.meta.url)),
    handler,
    bundling,
    runtime: Runtime.NODEJS_24_X,
    architecture: Architecture.ARM_64,
    memorySize: functionSizes[handler].memoryMb,
    timeout: Duration.seconds(functionSizes[handler].timeoutSeconds),
    role,
    logGroup,
    environment: {
      NODE_OPTIONS: '--enable-source-maps',
      FARSIDE_SITE_NAME: settings.site,
      FARSIDE_BUCKET: bucket.bucketName,
      FARSIDE_QUEUE_URL: queues.queue.queueUrl,
      FARSIDE_DEAD_LETTER_QUEUE_URL: queues.deadLetters.queueUrl,
      FARSIDE_SECRETS_PARAMETER: secrets.sealing.secretArn,
      ...(settings.tuning === undefined ? {} : { FARSIDE_TUNING: settings.tuning }),
    },
    ...(handler === 'http' && settings.httpConcurrencyMax !== undefined
      ? { reservedConcurrentExecutions: settings.httpConcurrencyMax }
      : {}),
    // Only Scheduler invokes without waiting, and the next minute is its retry.
    ...(handler === 'schedule' ? { retryAttempts: 0, maxEventAge: Duration.minutes(1) } : {}),
    // A long sync sends itself on, step by step. Lambda takes that for a runaway after 16 steps, and would bury the message; each step
    // of a sync moves its cursor, and what waits goes to the back of its queue, so the chain ends with the image.
    ...(handler === 'consume' ? { recursiveLoop: RecursiveLoop.ALLOW } : {}),
  });
  allowLogging(role, logGroup);
  allowState(role, bucket);
  role.addToPolicy(allow(['sqs:SendMessage'], queues.queue.queueArn));
  allowReading(created, secrets.sealing);
  return created;
}

const allow = (actions: string[], ...resources: string[]): PolicyStatement =>
  new PolicyStatement({ effect: Effect.ALLOW, actions, resources });

function allowLogging(role: Role, logGroup: LogGroup): void {
  role.addToPolicy(allow(['logs:CreateLogStream', 'logs:PutLogEvents'], logGroup.logGroupArn));
}

/** Without ListBucket S3 answers 403 for an object that is not there, and farside could not tell the two apart. */
function allowState(role: Role, bucket: Bucket): void {
  role.addToPolicy(allow(['s3:ListBucket'], bucket.bucketArn));
  role.addToPolicy(allow(['s3:GetObject', 's3:PutObject', 's3:DeleteObject'], bucket.arnForObjects('*')));
  const bucketId = Stack.of(bucket).getLogicalId(bucket.node.defaultChild as never);
  accept(
    role,
    "The objects of the site's own bucket: all of its state is there, under keys that are made as images are.",
    `IAM5[Resource::<${bucketId}.Arn>/*]`,
  );
}

/** Not `grantRead`, which also allows describing. */
function allowReading(reader: NodejsFunction, secret: Secret): void {
  reader.role!.addToPrincipalPolicy(allow(['secretsmanager:GetSecretValue'], secret.secretArn));
}

/**
 * Open to the network, because clients and peers are not AWS principals: farside's bearer tokens authenticate every request but
 * two (lib/site/api/access.ts). cdk-nag has no rule about function URLs, so this is the place that says it.
 */
function addUrl(http: NodejsFunction): FunctionUrl {
  return http.addFunctionUrl({ authType: FunctionUrlAuthType.NONE, invokeMode: InvokeMode.RESPONSE_STREAM });
}

const urlWithoutSlash = ({ url }: FunctionUrl): string => `https://${Fn.parseDomainName(url)}`;

/** No retries: the next tick is the retry, and finds the slots of the one that was lost. */
function everyMinute(scope: Construct, schedule: NodejsFunction): void {
  // Schedules of other accounts, which Scheduler serves too, have no use of this role.
  const conditions = { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } };
  const assumedBy = new ServicePrincipal('scheduler.amazonaws.com', { conditions });
  const role = new Role(scope, 'TickRole', { assumedBy });
  const policy = role.addToPrincipalPolicy(allow(['lambda:InvokeFunction'], schedule.functionArn)).policyDependable;
  const tick = new CfnSchedule(scope, 'Tick', {
    description: 'The tick of a farside site',
    scheduleExpression: 'rate(1 minute)',
    flexibleTimeWindow: { mode: 'OFF' },
    target: {
      arn: schedule.functionArn,
      roleArn: role.roleArn,
      input: JSON.stringify({ time: '<aws.scheduler.scheduled-time>' }),
      retryPolicy: { maximumRetryAttempts: 0, maximumEventAgeInSeconds: 60 },
    },
  });
  if (policy) tick.node.addDependency(policy);
}

function feed(consume: NodejsFunction, queue: IQueue, maxConcurrency: number): void {
  consume.addEventSource(
    new SqsEventSource(queue, {
      batchSize: deliverySettings.batchMessagesMax,
      maxBatchingWindow: Duration.seconds(deliverySettings.batchWaitSeconds),
      reportBatchItemFailures: true,
      maxConcurrency,
    }),
  );
}
