// `mirror snapshot schedule ls`: the schedule of one level, or with -R of all levels below it. A level without one: exit 2,
// silently, as in rbd; with -R an empty list.

import { defineReport } from '../command.ts';
import { levelArgument } from '../parse/parameters.ts';
import { plainScheduleLevels, scheduleText } from '../output/plain-mirror.ts';
import { listOptions, orNothing } from '../schedule-verbs.ts';
import { framed, scheduleFrame } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const frame = scheduleFrame('mirror snapshot', 'list');

export const mirrorSnapshotScheduleList = defineReport({
  path: 'mirror snapshot schedule list',
  aliases: ['ls'],
  summary: 'list schedules of mirror snapshots',
  arguments: { level: levelArgument },
  options: listOptions,
  xml: xmlShapes.scheduleItems,
  examples: [
    'farside mirror snapshot schedule ls -p rbd --image vm-1',
    'farside mirror snapshot schedule ls -R --format json',
  ],
  async run({ args: { level }, options, context, report }) {
    const { schedules } = await context.client();
    if (options.recursive) {
      const value = await framed(frame, () => schedules.listLevels(level));
      return report({ value, plain: () => plainScheduleLevels(value), xml: xmlShapes.scheduleLevels });
    }
    const value = await orNothing(() => framed(frame, () => schedules.list(level)));
    return report({ value, plain: () => `${scheduleText(value)}\n` });
  },
});
