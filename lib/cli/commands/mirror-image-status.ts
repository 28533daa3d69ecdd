// `mirror image status`: what mirroring does with an image, here and at its peers.

import { defineCommand } from '../command.ts';
import { imageArgument } from '../parameters.ts';
import { plainImageStatus } from '../plain-mirror.ts';
import { unframed } from '../wording.ts';

export const mirrorImageStatus = defineCommand({
  path: 'mirror image status',
  summary: "show the status of an image's mirroring",
  arguments: { image: imageArgument },
  options: {},
  examples: [
    'farside mirror image status vm-1',
    'farside --cluster site-b mirror image status backup/vm-1 --format json --pretty-format',
  ],
  async run({ args, context }) {
    const client = await context.client();
    const value = await unframed(() => client.imageStatus(args.image));
    context.output.report({ value, plain: () => plainImageStatus(value) });
  },
});
