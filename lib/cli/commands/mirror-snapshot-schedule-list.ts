// `mirror snapshot schedule ls`: the schedule of one level, or with -R of all levels below it. A level without one: exit 2,
// silently, as in rbd.

import { FarsideError } from '../../errors.ts';
import { defineReport } from '../command.ts';
import { SilentExit } from '../failure.ts';
import { levelArgument, switchOption } from '../parameters.ts';
import { plainScheduleLevels, scheduleText } from '../plain-mirror.ts';
import { framed, scheduleFrame } from '../wording.ts';
import { xmlShapes } from '../xml-shapes.ts';

export const mirrorSnapshotScheduleList = defineReport({
  path: 'mirror snapshot schedule list',
  aliases: ['ls'],
  summary: 'list schedules of mirror snapshots',
  arguments: { level: levelArgument },
  options: { recursive: switchOption('-R, --recursive', 'list all levels below, too') },
  xml: xmlShapes.scheduleItems,
  examples: [
    'farside mirror snapshot schedule ls -p rbd --image vm-1',
    'farside mirror snapshot schedule ls -R --format json',
  ],
  async run({ args: { level }, options, context, report }) {
    const client = await context.client();
    if (options.recursive) {
      const value = await orNothing(() => client.listScheduleLevels(level));
      return report({ value, plain: () => plainScheduleLevels(value), xml: xmlShapes.scheduleLevels });
    }
    const value = await orNothing(() => client.listSchedule(level));
    return report({ value, plain: () => `${scheduleText(value)}\n` });
  },
});

/** A level that does not exist is EINVAL; ENOENT and an empty list mean that it has no schedule. */
async function orNothing<T extends unknown[]>(list: () => Promise<T>): Promise<T> {
  const value = await framed(scheduleFrame('list'), list).catch((error: unknown) => {
    throw error instanceof FarsideError && error.code === 'ENOENT' ? new SilentExit('ENOENT') : error;
  });
  if (value.length === 0) throw new SilentExit('ENOENT');
  return value;
}
