// `mirror snapshot schedule status`: what the schedules will do next.

import { defineReport } from '../command.ts';
import { levelArgument } from '../parse/parameters.ts';
import { plainScheduleStatus } from '../output/plain-mirror.ts';
import { scheduleStatusShape } from '../client/shapes.ts';
import { framed, scheduleFrame } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const mirrorSnapshotScheduleStatus = defineReport({
  path: 'mirror snapshot schedule status',
  summary: 'show when the next mirror snapshots are due',
  arguments: { level: levelArgument },
  options: {},
  xml: xmlShapes.scheduleStatus,
  examples: ['farside mirror snapshot schedule status', 'farside mirror snapshot schedule status -p rbd --format json'],
  async run({ args: { level }, context, report }) {
    const client = await context.client();
    const value = await framed(scheduleFrame('mirror snapshot', 'status'), () =>
      client.schedules.status(level, scheduleStatusShape),
    );
    report({ value, plain: () => plainScheduleStatus(value) });
  },
});
