// `trash purge schedule add`: purges of the trash at an interval, for a level.

import { defineCommand } from '../command.ts';
import { additionArguments } from '../schedule-verbs.ts';
import { framed, scheduleFrame } from '../output/wording.ts';

export const trashPurgeScheduleAdd = defineCommand({
  path: 'trash purge schedule add',
  summary: 'add a schedule of purges of the trash',
  description:
    'The most specific level that has a schedule decides for a namespace: namespace, else pool, else site. A purge removes what has expired, as trash purge does.',
  arguments: additionArguments,
  options: {},
  examples: ['farside trash purge schedule add -p rbd 1d 02:00', 'farside trash purge schedule add 6h'],
  async run({ args: { level, interval, startTime }, context }) {
    const client = await context.client();
    await framed(scheduleFrame('trash purge', 'add'), () => client.purges.add(level, interval, startTime));
  },
});
