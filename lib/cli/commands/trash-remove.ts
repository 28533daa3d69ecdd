// `trash remove`: deletes an image that is in the trash. Its data goes in the background.

import { linkedClonesText } from '../../image/images.ts';
import { tooEarlyText } from '../../image/trash.ts';
import { defineCommand } from '../command.ts';
import { imageIdArgument, imageIdOf, imageIdOption, switchOption } from '../parse/parameters.ts';
import { framed, tellingItself } from '../output/wording.ts';

const frame = {
  text: 'remove error',
  errno: true,
  instead: {
    ENOTEMPTY:
      "image has snapshots - these must be deleted with 'farside snap purge' before the image can be removed.\nRestore it first: farside trash restore",
  },
};

export const trashRemove = defineCommand({
  path: 'trash remove',
  aliases: ['rm'],
  summary: 'remove an image from the trash',
  arguments: { id: imageIdArgument },
  options: {
    imageId: imageIdOption,
    force: switchOption('--force', 'also before its expiration time'),
  },
  examples: ['farside trash rm 0123456789abcdef01234567', 'farside trash rm --force backup/0123456789abcdef01234567'],
  async run({ args, options, context }) {
    const spec = imageIdOf(args.id, options.imageId, context.general);
    const client = await context.client();
    await framed(frame, () => client.trash.remove(spec, { force: options.force })).catch(
      tellingItself(linkedClonesText, tooEarlyText),
    );
  },
});
