// `trash purge schedule remove`: one item of a level's schedule, or all of it.

import { defineCommand } from '../command.ts';
import { removalArguments } from '../schedule-verbs.ts';
import { framed, scheduleFrame } from '../output/wording.ts';

export const trashPurgeScheduleRemove = defineCommand({
  path: 'trash purge schedule remove',
  aliases: ['rm'],
  summary: 'remove a schedule of purges of the trash',
  description: 'Without an interval, all schedules of the level are removed.',
  arguments: removalArguments,
  options: {},
  examples: ['farside trash purge schedule remove -p rbd 1d', 'farside trash purge schedule rm'],
  async run({ args: { level, interval, startTime }, context }) {
    const client = await context.client();
    await framed(scheduleFrame('trash purge', 'remove'), () => client.purges.remove(level, interval, startTime));
  },
});
