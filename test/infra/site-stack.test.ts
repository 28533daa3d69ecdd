// The stack as CloudFormation would get it. What is asserted is what a site's safety, its delivery or its bill rests on; what only
// describes (names, descriptions) is not.

import { App } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AwsSolutionsChecks } from 'cdk-nag';
import { describe, expect, test } from 'vitest';
import { parseLambdaEnv } from '../../functions/lambda-env.ts';
import { metricNames, metricNamespace } from '../../functions/metrics.ts';
import { functionSizes, visibilityTimeouts } from '../../infra/aws/function-sizes.ts';
import { parseSettings } from '../../infra/aws/settings.ts';
import { SiteStack } from '../../infra/aws/site-stack.ts';
import { loadCommands } from '../../lib/cli/commands/index.ts';
import { buildProgram } from '../../lib/cli/program.ts';
import { deliverySettings } from '../../lib/site/delivery.ts';
import { testTerminal } from '../cli/terminal.ts';

const commands = await loadCommands();

type Properties = Record<string, unknown>;
type Resource = { Type: string; Properties: Properties; DeletionPolicy?: string; UpdateReplacePolicy?: string };

/** Nothing is bundled: test/infra/synth.test.ts does that. */
function stackOf(context: Record<string, string> = {}): SiteStack {
  const app = new App({ context: { 'aws:cdk:bundling-stacks': [] }, analyticsReporting: false });
  return new SiteStack(
    app,
    parseSettings((name) => ({ site: 'site-a', ...context })[name]),
  );
}

const templateOf = (context?: Record<string, string>): Template => Template.fromStack(stackOf(context));
const template = templateOf();
const resources = (of = template): [string, Resource][] =>
  Object.entries((of.toJSON() as { Resources: Record<string, Resource> }).Resources);
const all = (type: string, of = template): Resource[] =>
  resources(of).flatMap(([, resource]) => (resource.Type === type ? [resource] : []));

const only = (type: string, of = template): Resource => {
  const found = all(type, of);
  expect(found).toHaveLength(1);
  return found[0]!;
};

const functionNamed = (handler: string, of = template): [string, Properties] => {
  const found = resources(of).find(([, { Properties }]) => Properties?.['Handler'] === `index.${handler}`);
  return [found![0], found![1].Properties];
};
const variablesOf = (handler: string, of = template): Properties =>
  (functionNamed(handler, of)[1]['Environment'] as { Variables: Properties }).Variables;

const handlers = ['http', 'schedule', 'consume'] as const;

describe('bucket', () => {
  test('is encrypted, closed to the public, spoken to over TLS only, and rid of aborted uploads', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      BucketEncryption: Match.anyValue(),
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
      OwnershipControls: { Rules: [{ ObjectOwnership: 'BucketOwnerEnforced' }] },
      LifecycleConfiguration: {
        Rules: [{ AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 }, Status: 'Enabled' }],
      },
    });
    template.hasResourceProperties('AWS::S3::BucketPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Action: 's3:*',
            Condition: { Bool: { 'aws:SecureTransport': 'false' } },
            Effect: 'Deny',
            Principal: { AWS: '*' },
          }),
        ]),
      },
    });
  });

  test('and the secrets outlive the stack, and nothing expires but uploads', () => {
    for (const type of ['AWS::S3::Bucket', 'AWS::SecretsManager::Secret'])
      for (const { DeletionPolicy, UpdateReplacePolicy } of all(type))
        expect([DeletionPolicy, UpdateReplacePolicy]).toEqual(['Retain', 'Retain']);
    expect(JSON.stringify(only('AWS::S3::Bucket'))).not.toContain('Expiration');
    expect(only('AWS::S3::Bucket').Properties).not.toHaveProperty('ObjectLockEnabled');
  });

  test('with Object Lock keeps each version for the days asked for, and no longer', () => {
    const locked = templateOf({ objectLockDays: '14', objectLockMode: 'compliance' });
    locked.hasResourceProperties('AWS::S3::Bucket', {
      ObjectLockEnabled: true,
      ObjectLockConfiguration: { Rule: { DefaultRetention: { Days: 14, Mode: 'COMPLIANCE' } } },
      VersioningConfiguration: { Status: 'Enabled' },
      LifecycleConfiguration: {
        Rules: Match.arrayWith([
          Match.objectLike({ NoncurrentVersionExpiration: { NoncurrentDays: 14 }, ExpiredObjectDeleteMarker: true }),
        ]),
      },
    });
  });
});

describe('queues', () => {
  const consumeTimeoutSeconds = functionSizes.consume.timeoutSeconds;

  test('hide a message for six times as long as its consumer may take, encrypted, over TLS only', () => {
    const queues = all('AWS::SQS::Queue').map(({ Properties }) => Properties);
    expect(queues).toHaveLength(2);
    for (const queue of queues)
      expect(queue).toMatchObject({
        SqsManagedSseEnabled: true,
        VisibilityTimeout: visibilityTimeouts * consumeTimeoutSeconds,
      });
    expect(all('AWS::SQS::QueuePolicy')).toHaveLength(2);
    for (const policy of all('AWS::SQS::QueuePolicy'))
      expect(JSON.stringify(policy)).toContain('"Bool":{"aws:SecureTransport":"false"}');
  });

  test('bury a message after the attempts that every runtime shares, and dead letters have a consumer', () => {
    const [deadLetterId] = resources().find(
      ([, { Type, Properties }]) => Type === 'AWS::SQS::Queue' && !Properties['RedrivePolicy'],
    )!;
    template.hasResourceProperties('AWS::SQS::Queue', {
      RedrivePolicy: {
        deadLetterTargetArn: { 'Fn::GetAtt': [deadLetterId, 'Arn'] },
        maxReceiveCount: deliverySettings.retriesMax + 1,
      },
    });
    const [consumeId] = functionNamed('consume');
    const sources = all('AWS::Lambda::EventSourceMapping').map(({ Properties }) => Properties);
    expect(sources.map(({ EventSourceArn }) => JSON.stringify(EventSourceArn)).toSorted()).toEqual(
      resources()
        .flatMap(([id, { Type }]) => (Type === 'AWS::SQS::Queue' ? [`{"Fn::GetAtt":["${id}","Arn"]}`] : []))
        .toSorted(),
    );
    for (const source of sources)
      expect(source).toMatchObject({
        BatchSize: deliverySettings.batchMessagesMax,
        MaximumBatchingWindowInSeconds: deliverySettings.batchWaitSeconds,
        FunctionName: { Ref: consumeId },
        FunctionResponseTypes: ['ReportBatchItemFailures'],
      });
    expect(sources.map(({ ScalingConfig }) => ScalingConfig)).toEqual([
      { MaximumConcurrency: 20 },
      { MaximumConcurrency: 2 },
    ]);
  });
});

describe('functions', () => {
  test.each(handlers)('%s runs on arm64 and Node 24, in the memory and time of function-sizes.ts', (handler) => {
    expect(functionNamed(handler)[1]).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      MemorySize: functionSizes[handler].memoryMb,
      Timeout: functionSizes[handler].timeoutSeconds,
    });
  });

  test.each(handlers)('%s is given an environment that it accepts, with no secret in it', (handler) => {
    const variables = variablesOf(handler);
    const resolved = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, resolve(value)]));
    expect(parseLambdaEnv(resolved)).toMatchObject({ FARSIDE_SITE_NAME: 'site-a' });
    expect(Object.keys(variables).filter((name) => /SECRET$|TOKEN$|HASH$/.test(name))).toEqual([]);
  });

  test('learn the address of the site without a cycle: http from its requests, the others from the function URL', () => {
    expect(variablesOf('http')).not.toHaveProperty('FARSIDE_SITE_URL');
    for (const handler of ['schedule', 'consume'])
      expect(resolve(variablesOf(handler)['FARSIDE_SITE_URL'])).toBe('https://abc.lambda-url.eu-central-1.on.aws');
    const elsewhere = templateOf({ siteUrl: 'https://farside.example.com/' });
    for (const handler of handlers)
      expect(variablesOf(handler, elsewhere)['FARSIDE_SITE_URL']).toBe('https://farside.example.com');
  });

  test('http answers streams at a URL that lets everybody in, as Lambda wants it said: with both permissions', () => {
    const [httpId] = functionNamed('http');
    template.hasResourceProperties('AWS::Lambda::Url', { AuthType: 'NONE', InvokeMode: 'RESPONSE_STREAM' });
    const permissions = all('AWS::Lambda::Permission').map(({ Properties }) => Properties);
    const open = { FunctionName: { 'Fn::GetAtt': [httpId, 'Arn'] }, Principal: '*' };
    expect(permissions).toEqual([
      { ...open, Action: 'lambda:InvokeFunctionUrl', FunctionUrlAuthType: 'NONE' },
      { ...open, Action: 'lambda:InvokeFunction', InvokedViaFunctionUrl: true },
    ]);
  });

  test('http takes no more of the account than it may', () => {
    expect(functionNamed('http')[1]).not.toHaveProperty('ReservedConcurrentExecutions');
    const bounded = templateOf({ httpConcurrencyMax: '25' });
    expect(functionNamed('http', bounded)[1]).toMatchObject({ ReservedConcurrentExecutions: 25 });
    expect(functionNamed('consume', bounded)[1]).not.toHaveProperty('ReservedConcurrentExecutions');
  });

  test('consume may send itself on for as long as an image is: Lambda would end a chain of messages after 16 steps', () => {
    expect(functionNamed('consume')[1]).toMatchObject({ RecursiveLoop: 'Allow' });
    for (const handler of ['http', 'schedule']) expect(functionNamed(handler)[1]).not.toHaveProperty('RecursiveLoop');
  });

  test('schedule is invoked every minute, with the time that it was due, and a tick that failed is not repeated', () => {
    const [scheduleId] = functionNamed('schedule');
    template.hasResourceProperties('AWS::Scheduler::Schedule', {
      ScheduleExpression: 'rate(1 minute)',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: { 'Fn::GetAtt': [scheduleId, 'Arn'] },
        Input: JSON.stringify({ time: '<aws.scheduler.scheduled-time>' }),
        RetryPolicy: { MaximumRetryAttempts: 0 },
      },
    });
    template.hasResourceProperties('AWS::Lambda::EventInvokeConfig', {
      FunctionName: { Ref: scheduleId },
      MaximumRetryAttempts: 0,
    });
  });
});

describe('rights', () => {
  type Statement = { Action: string | string[]; Effect: string; Resource: unknown };

  /** Actions of a role, each with the logical id and attribute of its resource. */
  function rightsOf(role: RegExp): string[] {
    const policies = all('AWS::IAM::Policy').filter(({ Properties }) => role.test(JSON.stringify(Properties['Roles'])));
    const statements = policies.flatMap(
      ({ Properties }) => (Properties['PolicyDocument'] as { Statement: Statement[] }).Statement,
    );
    expect(statements.map(({ Effect }) => Effect)).toEqual(statements.map(() => 'Allow'));
    return statements
      .flatMap(({ Action, Resource }) => [Action].flat().map((one) => `${one} ${nameOf(Resource)}`))
      .toSorted();
  }

  const nameOf = (resource: unknown): string => resolve(resource).replaceAll(/[0-9A-F]{8}\b/g, '');

  const state = [
    's3:DeleteObject Bucket.Arn/*',
    's3:GetObject Bucket.Arn/*',
    's3:ListBucket Bucket.Arn',
    's3:PutObject Bucket.Arn/*',
  ];
  const logs = (name: string): string[] => [`logs:CreateLogStream ${name}Log.Arn`, `logs:PutLogEvents ${name}Log.Arn`];
  const sealing = 'secretsmanager:GetSecretValue Sealing';
  const send = 'sqs:SendMessage Queue.Arn';
  const receive = (queue: string): string[] =>
    ['ChangeMessageVisibility', 'DeleteMessage', 'GetQueueAttributes', 'GetQueueUrl', 'ReceiveMessage'].map(
      (action) => `sqs:${action} ${queue}.Arn`,
    );

  test.each([
    ['http', /HttpRole/, [...logs('Http'), ...state, 'secretsmanager:GetSecretValue AdminToken', sealing, send]],
    ['schedule', /ScheduleRole/, [...logs('Schedule'), ...state, sealing, send]],
    [
      'consume',
      /ConsumeRole/,
      [...logs('Consume'), ...state, sealing, send, ...receive('Queue'), ...receive('DeadLetters')],
    ],
    ['the tick', /TickRole/, ['lambda:InvokeFunction Schedule.Arn']],
  ])('of %s are these and no more', (_name, role, rights) => {
    expect(rightsOf(role)).toEqual(rights.toSorted());
  });

  test('of the tick are lent to schedules of this account only', () => {
    template.hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: [
          {
            Action: 'sts:AssumeRole',
            Effect: 'Allow',
            Principal: { Service: 'scheduler.amazonaws.com' },
            Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
          },
        ],
      },
    });
  });

  test('come from no managed policy, and there is no role but these four', () => {
    expect(all('AWS::IAM::Role')).toHaveLength(4);
    expect(JSON.stringify(all('AWS::IAM::Role'))).not.toContain('ManagedPolicyArns');
    expect(all('AWS::IAM::Policy')).toHaveLength(4);
  });
});

describe('secrets', () => {
  test('are drawn by Secrets Manager: 64 letters and digits, which is base64 of more than 32 bytes', () => {
    const drawn = { PasswordLength: 64, ExcludePunctuation: true, IncludeSpace: false };
    expect(all('AWS::SecretsManager::Secret').map(({ Properties }) => Properties['GenerateSecretString'])).toEqual([
      { ...drawn, SecretStringTemplate: '{}', GenerateStringKey: 'secret' },
      drawn,
    ]);
    for (const { Properties } of all('AWS::SecretsManager::Secret'))
      expect(Properties).not.toHaveProperty('SecretString');
  });
});

describe('alarms', () => {
  const alarmOn = (metric: string, more: object = {}): void =>
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: metric,
      AlarmActions: [{ Ref: Match.stringLikeRegexp('^Alarms') }],
      ...more,
    });

  test('watch the lag by the name under which it is told, and take silence for a missed recovery point', () => {
    alarmOn(metricNames.lagSeconds, {
      Namespace: metricNamespace,
      Dimensions: [{ Name: 'Site', Value: 'site-a' }],
      Threshold: 15 * 60,
      EvaluationPeriods: 15,
      Period: 60,
      Statistic: 'Maximum',
      TreatMissingData: 'breaching',
    });
    alarmOn(metricNames.peersUnreachable, { Namespace: metricNamespace, Threshold: 1, EvaluationPeriods: 15 });
    templateOf({ rpoMinutes: '90' }).hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: metricNames.lagSeconds,
      Threshold: 90 * 60,
      EvaluationPeriods: 90,
    });
  });

  test('watch the age of messages, the arrival of dead letters, and the errors of each function', () => {
    alarmOn('ApproximateAgeOfOldestMessage', { Threshold: 15 * 60 });
    alarmOn('NumberOfMessagesReceived', { Threshold: 1, Statistic: 'Sum' });
    for (const handler of handlers)
      alarmOn('Errors', {
        Dimensions: [{ Name: 'FunctionName', Value: { Ref: functionNamed(handler)[0] } }],
        Threshold: 1,
      });
    expect(all('AWS::CloudWatch::Alarm')).toHaveLength(7);
  });

  test('may be published by the alarms of this account, which a topic with a policy of its own does not allow by itself', () => {
    template.hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Action: 'sns:Publish',
            Effect: 'Allow',
            Principal: { Service: 'cloudwatch.amazonaws.com' },
            Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
          }),
        ]),
      },
    });
  });

  test('go to an address only when one is given', () => {
    expect(all('AWS::SNS::Subscription')).toHaveLength(0);
    expect(only('AWS::SNS::Subscription', templateOf({ alarmEmail: 'ops@example.com' })).Properties).toMatchObject({
      Protocol: 'email',
      Endpoint: 'ops@example.com',
    });
  });
});

test('the command line that the stack puts out is one that farside accepts', async () => {
  const { AddSite } = (template.toJSON() as { Outputs: Record<string, { Value: unknown }> }).Outputs;
  const [farside, ...words] = resolve(AddSite!.Value).split(' ');
  expect(farside).toBe('farside');
  const runs: unknown[] = [];
  const inert = commands.map((command) => ({ ...command, run: async (run: unknown) => void runs.push(run) }));
  await buildProgram(inert, testTerminal().terminal).parseAsync(words, { from: 'user' });
  expect(runs).toMatchObject([
    {
      options: {
        name: 'site-a',
        url: 'https://abc.lambda-url.eu-central-1.on.aws',
        tokenFile: 'site-a.token',
      },
    },
  ]);
});

describe('cdk-nag', () => {
  const found = (stack: SiteStack, nag = new AwsSolutionsChecks()): string[] =>
    nag
      .validateScope(stack)
      .violations.flatMap(({ ruleName, violatingResources }) => violatingResources.map(() => ruleName));

  test.each([[{}], [{ objectLockDays: '7', alarmEmail: 'ops@example.com', siteUrl: 'https://farside.example.com' }]])(
    'AwsSolutions has nothing unanswered to say of a site with %o',
    (context) => {
      expect(found(stackOf(context))).toEqual([]);
    },
  );

  test('would find a careless bucket', () => {
    const stack = stackOf();
    expect(new Bucket(stack, 'Careless')).toBeDefined();
    expect(found(stack)).toContain('AwsSolutions-S10');
  });

  test('every answer has a reason and still answers a finding', () => {
    const stack = stackOf();
    const answers = stack.node
      .findAll()
      .flatMap(({ node }) => node.metadata)
      .filter(({ type }) => /acknowledge/i.test(type))
      .flatMap(({ data }) => Object.entries(data as Record<string, string>));
    for (const [, reason] of answers) expect(reason.length).toBeGreaterThan(60);
    const unanswered = found(stack, Object.assign(new AwsSolutionsChecks(), { isAcknowledged: () => false }));
    expect(answers.map(([id]) => id.replace('Annotation::', '')).toSorted()).toEqual(unanswered.toSorted());
  });
});

/** What CloudFormation would make of a value, with names for what it does not know yet. */
function resolve(value: unknown): string {
  if (typeof value === 'string') return value;
  const [[fn, argument]] = Object.entries(value as object) as [[string, never]];
  switch (fn) {
    case 'Ref':
      return refOf(argument);
    case 'Fn::GetAtt':
      return argument[1] === 'FunctionUrl'
        ? 'https://abc.lambda-url.eu-central-1.on.aws/'
        : (argument as string[]).join('.');
    case 'Fn::Join':
      return (argument[1] as unknown[]).map(resolve).join(argument[0]);
    case 'Fn::Split':
      throw new Error('only within Fn::Select');
    case 'Fn::Select':
      return resolve((argument[1] as { 'Fn::Split': [string, unknown] })['Fn::Split'][1]).split(
        (argument[1] as { 'Fn::Split': [string, unknown] })['Fn::Split'][0],
      )[Number(argument[0])]!;
    default:
      throw new Error(`${fn} is not known here`);
  }
}

const refOf = (id: string): string =>
  resources().some(([one, { Type }]) => one === id && Type === 'AWS::SQS::Queue')
    ? `https://sqs.eu-central-1.amazonaws.com/123456789012/${id}`
    : id;
