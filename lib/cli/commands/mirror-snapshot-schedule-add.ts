// `mirror snapshot schedule add`: mirror snapshots at an interval, for a level.

import { defineCommand } from '../command.ts';
import { levelArgument, optionalTextArgument, textArgument } from '../parameters.ts';
import { framed, scheduleFrame } from '../wording.ts';

export const mirrorSnapshotScheduleAdd = defineCommand({
  path: 'mirror snapshot schedule add',
  summary: 'add a schedule of mirror snapshots',
  description:
    'The most specific level that has a schedule decides for an image: image, else namespace, else pool, else site.',
  arguments: {
    level: levelArgument,
    interval: textArgument('interval', 'digits and d, h or m; minutes without a letter', "missing 'interval' argument"),
    startTime: optionalTextArgument('start-time', 'time of day to count from: 14:00:00-05:00'),
  },
  options: {},
  examples: [
    'farside mirror snapshot schedule add -p rbd --image vm-1 1m',
    'farside mirror snapshot schedule add -p rbd 1d 14:00:00-05:00',
    'farside mirror snapshot schedule add 6h',
  ],
  async run({ args: { level, interval, startTime }, context }) {
    const client = await context.client();
    const item = startTime === undefined ? { interval } : { interval, startTime };
    await framed(scheduleFrame('add'), () => client.addSchedule(level, item));
  },
});
