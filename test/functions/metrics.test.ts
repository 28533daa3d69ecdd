import { expect, test } from 'vitest';

import { metricLine, metricNames, metricNamespace } from '../../functions/metrics.ts';
import { TestSite } from '../site/harness.ts';

test('a tick is told to CloudWatch in one line, whose every metric has its number and dimension', async () => {
  const { site } = new TestSite();
  await site.tick(0);
  const line = metricLine('site-a', await site.lag(), 1_795_000_000_000);
  expect(line).not.toContain('\n');
  const told = JSON.parse(line) as Record<string, unknown> & { _aws: { Timestamp: number; CloudWatchMetrics: Told[] } };
  expect(told).toMatchObject({ Site: 'site-a', [metricNames.lagSeconds]: 0, [metricNames.peersUnreachable]: 0 });
  const [metrics] = told._aws.CloudWatchMetrics;
  expect(told._aws.Timestamp).toBe(1_795_000_000_000);
  expect(metrics).toMatchObject({ Namespace: metricNamespace, Dimensions: [['Site']] });
  expect(metrics!.Metrics.map(({ Name }) => typeof told[Name])).toEqual(['number', 'number']);
});

type Told = { Metrics: { Name: string; Unit: string }[] };

test('a lag is told in whole seconds', () => {
  expect(JSON.parse(metricLine('site-a', { lagMs: 90_400, peersUnreachable: 2 }, 0))).toMatchObject({
    RecoveryPointLagSeconds: 90,
    PeersUnreachable: 2,
  });
});
