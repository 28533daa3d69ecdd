// `cp`: a new image with the content of another, or of a snapshot.

import { defineCommand } from '../command.ts';
import { copyArguments, copyOptions, runCopy } from '../transfer/copying.ts';

export const copy = defineCommand({
  path: 'copy',
  aliases: ['cp'],
  summary: 'copy src image to dest',
  description:
    'The copy has the metadata, features and object size of the source, no snapshots and no parent. It appears when all of it is there, and needs the source no more. ' +
    'The site copies; an interrupted copy goes on where it was when the same command is run again. For another object size, the data pass through this machine.',
  arguments: copyArguments,
  options: copyOptions,
  examples: [
    'farside cp vm-1 vm-2',
    'farside copy vm-1@monday backup/vm-1-monday',
    'farside cp vm-1 vm-2 --object-size 1M',
  ],
  run: ({ args, options, context }) => runCopy({ ...args, options, deep: false }, context),
});
