// Owns what an operator of a site on AWS is woken for, and where the alarms go: one topic.

import { Duration, Stack } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, TreatMissingData, type AlarmProps } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Construct } from 'constructs';
import { metricNames, metricNamespace } from '../../functions/metrics.ts';
import type { SiteFunctions } from './functions.ts';
import type { Queues } from './queues.ts';
import type { SiteSettings } from './settings.ts';

const secondsPerMinute = 60;
const watched = ['http', 'schedule', 'consume'] as const;

export type Watched = { functions: SiteFunctions; queues: Queues; settings: SiteSettings };

export function createAlarms(scope: Construct, parts: Watched): Topic {
  const topic = new Topic(scope, 'Alarms', { enforceSSL: true });
  // A policy of its own replaces the one that lets the account publish.
  topic.addToResourcePolicy(
    new PolicyStatement({
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['sns:Publish'],
      resources: [topic.topicArn],
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
    }),
  );
  const { alarmEmail } = parts.settings;
  if (alarmEmail !== undefined) topic.addSubscription(new EmailSubscription(alarmEmail));
  const action = new SnsAction(topic);
  for (const [id, props] of Object.entries(alarmsOf(parts))) {
    const alarm = new Alarm(scope, `${id}Alarm`, props);
    alarm.addAlarmAction(action);
    alarm.addOkAction(action);
  }
  return topic;
}

const atLeast = ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD;
const quiet = { comparisonOperator: atLeast, treatMissingData: TreatMissingData.NOT_BREACHING, evaluationPeriods: 1 };

function alarmsOf({ functions, queues, settings }: Watched): Record<string, AlarmProps> {
  const { site, rpoMinutes } = settings;
  const minute = { period: Duration.minutes(1), statistic: 'Maximum' };
  const fiveMinutes = { period: Duration.minutes(5), statistic: 'Sum' };
  const tickMetric = (metricName: string): Metric =>
    new Metric({ namespace: metricNamespace, metricName, dimensionsMap: { Site: site }, ...minute });
  return {
    RpoMissed: {
      alarmDescription: `farside site ${site}: for ${rpoMinutes} minutes an image has been behind its primary, its newest recovery point as old; or there were no ticks`,
      metric: tickMetric(metricNames.lagSeconds),
      threshold: rpoMinutes * secondsPerMinute,
      comparisonOperator: atLeast,
      evaluationPeriods: rpoMinutes,
      treatMissingData: TreatMissingData.BREACHING,
    },
    PeerUnreachable: {
      alarmDescription: `farside site ${site}: for ${rpoMinutes} minutes a peer could not be reached, so nobody knows how far its images are ahead`,
      metric: tickMetric(metricNames.peersUnreachable),
      threshold: 1,
      ...quiet,
      evaluationPeriods: rpoMinutes,
    },
    QueueAge: {
      alarmDescription: `farside site ${site}: a message has waited for ${rpoMinutes} minutes`,
      metric: queues.queue.metricApproximateAgeOfOldestMessage(minute),
      threshold: rpoMinutes * secondsPerMinute,
      ...quiet,
    },
    // Its consumer empties the queue at once, so what is counted is what arrived. SQS does not count a redrive as sent.
    DeadLetters: {
      alarmDescription: `farside site ${site}: messages were given up; 'farside queue ls' shows them`,
      metric: queues.deadLetters.metricNumberOfMessagesReceived(fiveMinutes),
      threshold: 1,
      ...quiet,
    },
    ...Object.fromEntries(watched.map((name) => [errorAlarmId(name), errorAlarm(site, name, functions, fiveMinutes)])),
  };
}

const errorAlarmId = (name: (typeof watched)[number]): string => `${name[0]!.toUpperCase()}${name.slice(1)}Errors`;

const errorAlarm = (
  site: string,
  name: (typeof watched)[number],
  functions: SiteFunctions,
  options: { period: Duration; statistic: string },
): AlarmProps => ({
  alarmDescription: `farside site ${site}: the ${name} function failed, timed out or ran out of memory; its log says more`,
  metric: functions[name].metricErrors(options),
  threshold: 1,
  ...quiet,
});
