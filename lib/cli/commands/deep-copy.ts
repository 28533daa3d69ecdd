// `deep cp`: as `cp`, with the snapshots.

import { defineCommand } from '../command.ts';
import { copyArguments, copyOptions, runCopy } from '../transfer/copying.ts';
import { switchOption } from '../parse/parameters.ts';

export const deepCopy = defineCommand({
  path: 'deep copy',
  aliases: ['cp'],
  summary: 'deep copy src image to dest',
  description:
    'As cp, with the user snapshots, their protection and times; of a snapshot, with those up to it. A copy of a clone has no parent: it is always flattened.',
  arguments: copyArguments,
  options: { ...copyOptions, flatten: switchOption('--flatten', 'without a parent (always so)') },
  examples: ['farside deep cp vm-1 vm-2', 'farside deep copy vm-1@monday backup/vm-1 --flatten'],
  run: ({ args, options, context }) => runCopy({ ...args, options, deep: true }, context),
});
