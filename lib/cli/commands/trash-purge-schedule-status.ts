// `trash purge schedule status`: when the trash is purged next.

import { defineReport } from '../command.ts';
import { levelArgument } from '../parse/parameters.ts';
import { plainPurgeStatus } from '../output/plain-mirror.ts';
import { purgeStatusShape } from '../client/shapes.ts';
import { framed, scheduleFrame } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const trashPurgeScheduleStatus = defineReport({
  path: 'trash purge schedule status',
  summary: 'show when the next purges of the trash are due',
  arguments: { level: levelArgument },
  options: {},
  xml: xmlShapes.purgeStatus,
  examples: ['farside trash purge schedule status', 'farside trash purge schedule status -p rbd --format json'],
  async run({ args: { level }, context, report }) {
    const client = await context.client();
    const rows = await framed(scheduleFrame('trash purge', 'status'), () =>
      client.purges.status(level, purgeStatusShape),
    );
    // rbd spells it so, and scripts with it.
    const value = rows.map(({ pool, namespace, schedule_time }) => ({
      pool,
      namespce: namespace,
      namespace,
      schedule_time,
    }));
    report({ value, plain: () => plainPurgeStatus(rows) });
  },
});
