// `mirror snapshot schedule status`: what the schedules will do next.

import { defineReport } from '../command.ts';
import { levelArgument } from '../parameters.ts';
import { plainScheduleStatus } from '../plain-mirror.ts';
import { scheduleStatusShape } from '../shapes.ts';
import { framed, scheduleFrame } from '../wording.ts';
import { xmlShapes } from '../xml-shapes.ts';

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
