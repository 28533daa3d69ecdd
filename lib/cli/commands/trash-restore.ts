// `trash restore`: gives an image in the trash its name back.

import { defineCommand } from '../command.ts';
import { imageIdArgument, imageIdOf, imageIdOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

const frame = {
  text: 'restore error',
  errno: true,
  instead: {
    ENOENT: 'error: image does not exist in trash',
    EEXIST: 'error: an image with the same name already exists, try again with with a different name',
  },
};

export const trashRestore = defineCommand({
  path: 'trash restore',
  summary: 'restore an image from the trash',
  description: 'By the name that it had, or by that of --image. It is not mirrored, whatever it was before.',
  arguments: { id: imageIdArgument },
  options: { imageId: imageIdOption },
  examples: [
    'farside trash restore 0123456789abcdef01234567',
    'farside trash restore --image vm-1-back backup/0123456789abcdef01234567',
  ],
  async run({ args, options, context }) {
    const spec = imageIdOf(args.id, options.imageId, context.general);
    const client = await context.client();
    await framed(frame, () => client.trash.restore(spec, context.general.image));
  },
});
