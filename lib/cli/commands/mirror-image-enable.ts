// `mirror image enable`: an image is mirrored from now on.

import { FarsideError } from '../../errors.ts';
import type { ImageMirrorMode } from '../client/client.ts';
import { defineCommand } from '../command.ts';
import { imageMirrorModes as modes } from '../parse/creation.ts';
import { imageArgument, optionalTextArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

const modeDefault: ImageMirrorMode = 'journal';

export const mirrorImageEnable = defineCommand({
  path: 'mirror image enable',
  summary: 'enable mirroring of an image',
  description: 'In snapshot mode the first mirror snapshot is taken at once.',
  arguments: {
    image: imageArgument,
    mode: optionalTextArgument('mode', `mirror image mode [${modes.join('|')}] (default: ${modeDefault})`),
  },
  options: {},
  examples: [
    'farside mirror image enable vm-1 snapshot',
    'farside mirror image enable -p backup --image vm-1 snapshot',
  ],
  async run({ args, context }) {
    const mode = modes.find((one) => one === (args.mode ?? modeDefault));
    if (mode === undefined) throw new FarsideError('EINVAL', `invalid mode name: ${args.mode}`);
    const client = await context.client();
    await unframed(() => client.enableImage(args.image, mode));
    context.output.line('Mirroring enabled');
  },
});
