// `trash purge schedule ls`: the schedule of one level, or with -R of all levels below it. A level without one: exit 2, silently, as
// in rbd.

import { defineReport } from '../command.ts';
import { levelArgument } from '../parse/parameters.ts';
import { plainPurgeLevels, scheduleText } from '../output/plain-mirror.ts';
import { listOptions, orNothing } from '../schedule-verbs.ts';
import { framed, scheduleFrame } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const frame = scheduleFrame('trash purge', 'list');

export const trashPurgeScheduleList = defineReport({
  path: 'trash purge schedule list',
  aliases: ['ls'],
  summary: 'list schedules of purges of the trash',
  arguments: { level: levelArgument },
  options: listOptions,
  xml: xmlShapes.scheduleItems,
  examples: ['farside trash purge schedule ls -p rbd', 'farside trash purge schedule ls -R --format json'],
  async run({ args: { level }, options, context, report }) {
    const { purges } = await context.client();
    if (options.recursive) {
      const levels = await framed(frame, () => purges.listLevels(level));
      // There is no trash of an image.
      const value = levels.map(({ pool, namespace, items }) => ({ pool, namespace, items }));
      return report({ value, plain: () => plainPurgeLevels(value), xml: xmlShapes.scheduleLevels });
    }
    const value = await orNothing(() => framed(frame, () => purges.list(level)));
    return report({ value, plain: () => `${scheduleText(value)}\n` });
  },
});
