// Owns what a site on AWS tells CloudWatch after each tick: lines of the embedded metric format, which CloudWatch makes metrics
// of when they stand in a function's log. Nothing is called for it. infra/aws/alarms.ts raises alarms by the same names.

import type { MirrorLag } from '../lib/mirror/status/lag.ts';

export const metricNamespace = 'farside';
export const metricNames = {
  /** Of the image that is furthest behind: the age of its newest complete recovery point here. 0: none is known to be behind. */
  lagSeconds: 'RecoveryPointLagSeconds',
  /** Peers that we receive from and that the tick could not ask. */
  peersUnreachable: 'PeersUnreachable',
} as const;

/** One line, to be written to standard output as it is: a prefix would make it text. */
export function metricLine(site: string, lag: MirrorLag, nowMs: number): string {
  const { lagSeconds, peersUnreachable } = metricNames;
  const metrics = [
    { Name: lagSeconds, Unit: 'Seconds' },
    { Name: peersUnreachable, Unit: 'Count' },
  ];
  return JSON.stringify({
    _aws: {
      Timestamp: nowMs,
      CloudWatchMetrics: [{ Namespace: metricNamespace, Dimensions: [['Site']], Metrics: metrics }],
    },
    Site: site,
    [lagSeconds]: Math.round(lag.lagMs / 1000),
    [peersUnreachable]: lag.peersUnreachable,
  });
}
