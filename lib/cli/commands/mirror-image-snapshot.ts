// `mirror image snapshot`: a mirror snapshot now, beside the schedule.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parse/parameters.ts';
import { quiesceMode, quiesceOptions } from '../parse/quiescing.ts';
import { framed } from '../output/wording.ts';

export const mirrorImageSnapshot = defineCommand({
  path: 'mirror image snapshot',
  summary: 'create a mirror snapshot of an image now',
  arguments: { image: imageArgument },
  options: quiesceOptions,
  examples: ['farside mirror image snapshot vm-1'],
  async run({ args, options, context }) {
    const client = await context.client();
    const id = await framed({ text: 'error creating snapshot', errno: true, owns: 'ETIMEDOUT' }, () =>
      client.createMirrorSnapshot(args.image, { quiesce: quiesceMode(options) }),
    );
    context.output.line(`Snapshot ID: ${id}`);
  },
});
