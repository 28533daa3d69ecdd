// `mirror image snapshot`: a mirror snapshot now, beside the schedule.

import { defineCommand } from '../command.ts';
import { imageArgument, switchOption } from '../parameters.ts';
import { framed } from '../wording.ts';

export const mirrorImageSnapshot = defineCommand({
  path: 'mirror image snapshot',
  summary: 'create a mirror snapshot of an image now',
  arguments: { image: imageArgument },
  options: {
    skipQuiesce: switchOption('--skip-quiesce', 'do not run quiesce hooks (there are none: accepted for scripts)'),
    ignoreQuiesceError: switchOption('--ignore-quiesce-error', 'ignore quiesce hook errors (accepted for scripts)'),
  },
  examples: ['farside mirror image snapshot vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    const id = await framed({ text: 'error creating snapshot', errno: true }, () =>
      client.createMirrorSnapshot(args.image),
    );
    context.output.line(`Snapshot ID: ${id}`);
  },
});
