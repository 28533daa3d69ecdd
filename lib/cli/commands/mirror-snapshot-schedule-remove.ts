// `mirror snapshot schedule remove`: one item of a level's schedule, or all of it.

import { defineCommand } from '../command.ts';
import { removalArguments } from '../schedule-verbs.ts';
import { framed, scheduleFrame } from '../output/wording.ts';

export const mirrorSnapshotScheduleRemove = defineCommand({
  path: 'mirror snapshot schedule remove',
  aliases: ['rm'],
  summary: 'remove a schedule of mirror snapshots',
  description: 'Without an interval, all schedules of the level are removed.',
  arguments: removalArguments,
  options: {},
  examples: [
    'farside mirror snapshot schedule remove -p rbd --image vm-1 1m',
    'farside mirror snapshot schedule rm -p rbd',
  ],
  async run({ args: { level, interval, startTime }, context }) {
    const client = await context.client();
    await framed(scheduleFrame('mirror snapshot', 'remove'), () => client.schedules.remove(level, interval, startTime));
  },
});
