// `mirror snapshot schedule add`: mirror snapshots at an interval, for a level.

import { defineCommand } from '../command.ts';
import { additionArguments } from '../schedule-verbs.ts';
import { framed, scheduleFrame } from '../output/wording.ts';

export const mirrorSnapshotScheduleAdd = defineCommand({
  path: 'mirror snapshot schedule add',
  summary: 'add a schedule of mirror snapshots',
  description:
    'The most specific level that has a schedule decides for an image: image, else namespace, else pool, else site.',
  arguments: additionArguments,
  options: {},
  examples: [
    'farside mirror snapshot schedule add -p rbd --image vm-1 1m',
    'farside mirror snapshot schedule add -p rbd 1d 14:00:00-05:00',
    'farside mirror snapshot schedule add 6h',
  ],
  async run({ args: { level, interval, startTime }, context }) {
    const client = await context.client();
    await framed(scheduleFrame('mirror snapshot', 'add'), () => client.schedules.add(level, interval, startTime));
  },
});
