// `mirror pool status`: the health of a pool's mirroring, once or again and again.

import { FarsideError } from '../../errors.ts';
import { defineReport } from '../command.ts';
import { integerOption, poolAndNamespaceArgument, switchOption } from '../parse/parameters.ts';
import { plainPoolStatus } from '../output/plain-mirror.ts';
import { watch, watchSecondsDefault } from '../output/watch.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const intervalRange = { min: 1, max: 3600 };

export const mirrorPoolStatus = defineReport({
  path: 'mirror pool status',
  summary: "show the status of a pool's mirroring",
  description:
    'With --verbose, sites are shown where rbd shows its daemons: a site is up while it ticks. With --watch it is shown until it is interrupted, on a terminal in its place.',
  arguments: { pool: poolAndNamespaceArgument },
  options: {
    verbose: switchOption('--verbose', 'every image, and who mirrors them'),
    watch: switchOption('--watch', 'show it again and again'),
    interval: integerOption(
      '--interval <seconds>',
      `seconds between two looks of --watch (default: ${watchSecondsDefault})`,
      intervalRange,
    ),
  },
  xml: xmlShapes.poolStatus,
  examples: [
    'farside mirror pool status rbd',
    'farside mirror pool status rbd --verbose --format json',
    'farside mirror pool status rbd --verbose --watch --interval 5',
  ],
  async run({ args: { pool }, options: { verbose, watch: watches, interval }, context, report, reportText }) {
    if (interval !== undefined && !watches) throw new FarsideError('EINVAL', '--interval is of use with --watch only');
    const client = await context.client();
    const ask = async () => {
      const value = await unframed(() => client.poolStatus(pool, { verbose }));
      return { value, plain: () => plainPoolStatus(value) };
    };
    if (!watches) return report(await ask());
    const title = `mirroring of ${pool.namespace === '' ? pool.pool : `${pool.pool}/${pool.namespace}`}`;
    const every = interval ?? watchSecondsDefault;
    return watch(context.terminal, { every, title, ask: async () => reportText(await ask()) });
  },
});
