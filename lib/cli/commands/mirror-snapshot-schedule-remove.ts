// `mirror snapshot schedule remove`: one item of a level's schedule, or all of it.

import { defineCommand } from '../command.ts';
import { levelArgument, optionalTextArgument } from '../parameters.ts';
import { framed, scheduleFrame } from '../wording.ts';

export const mirrorSnapshotScheduleRemove = defineCommand({
  path: 'mirror snapshot schedule remove',
  aliases: ['rm'],
  summary: 'remove a schedule of mirror snapshots',
  description: 'Without an interval, all schedules of the level are removed.',
  arguments: {
    level: levelArgument,
    interval: optionalTextArgument('interval', 'interval of the schedule to remove'),
    startTime: optionalTextArgument('start-time', 'start time of the schedule to remove'),
  },
  options: {},
  examples: [
    'farside mirror snapshot schedule remove -p rbd --image vm-1 1m',
    'farside mirror snapshot schedule rm -p rbd',
  ],
  async run({ args: { level, interval, startTime }, context }) {
    const client = await context.client();
    const item = { ...(interval === undefined ? {} : { interval }), ...(startTime === undefined ? {} : { startTime }) };
    await framed(scheduleFrame('remove'), () => client.removeSchedule(level, item));
  },
});
