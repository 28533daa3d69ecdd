// `mirror snapshot schedule status`: what the schedules will do next.

import { defineCommand } from '../command.ts';
import { levelArgument } from '../parameters.ts';
import { plainScheduleStatus } from '../plain-mirror.ts';
import { framed, scheduleFrame } from '../wording.ts';

export const mirrorSnapshotScheduleStatus = defineCommand({
  path: 'mirror snapshot schedule status',
  summary: 'show when the next mirror snapshots are due',
  arguments: { level: levelArgument },
  options: {},
  examples: ['farside mirror snapshot schedule status', 'farside mirror snapshot schedule status -p rbd --format json'],
  async run({ args: { level }, context }) {
    const client = await context.client();
    const value = await framed(scheduleFrame('status'), () => client.scheduleStatus(level));
    context.output.report({ value, plain: () => plainScheduleStatus(value) });
  },
});
