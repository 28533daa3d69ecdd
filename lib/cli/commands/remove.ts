// `rm`: deletes an image. Its data goes in the background.

import { linkedClonesText } from '../../image/images.ts';
import { defineCommand } from '../command.ts';
import { choiceOption, imageArgument, integerOption } from '../parse/parameters.ts';
import { framed, tellingItself } from '../output/wording.ts';

const frame = {
  text: 'delete error',
  errno: true,
  opensNothing: true,
  instead: {
    ENOTEMPTY: "image has snapshots - these must be deleted with 'farside snap purge' before the image can be removed.",
    EBUSY:
      'error: image still has watchers\nThis means that mirroring still writes to it: remove the primary image, or disable mirroring here with ' +
      "'farside mirror image disable --force'.",
  },
};

export const remove = defineCommand({
  path: 'remove',
  aliases: ['rm'],
  summary: 'delete an image',
  description:
    'A mirrored primary takes its replicas with it. Options of the pool may move it to the trash instead (`config pool ls`).',
  arguments: { image: imageArgument },
  options: {
    toTrash: choiceOption('--rbd-move-to-trash-on-remove <bool>', 'move it to the trash instead', ['true', 'false']),
    expireSeconds: integerOption('--rbd-move-to-trash-on-remove-expire-seconds <seconds>', 'for so long', {
      min: 0,
      max: 2 ** 32 - 1,
    }),
    parentToTrash: choiceOption(
      '--rbd-move-parent-to-trash-on-remove <bool>',
      'if only clones hold it, move it to the trash, where it goes with the last of them',
      ['true', 'false'],
    ),
  },
  examples: ['farside rm vm-1', 'farside rm backup/vm-1'],
  async run({ args, options, context }) {
    const { toTrash, expireSeconds, parentToTrash } = options;
    const asked = { toTrash: truthOf(toTrash), expireSeconds, parentToTrash: truthOf(parentToTrash) };
    const client = await context.client();
    await framed(frame, () => client.removeImage(args.image, asked)).catch(tellingItself(linkedClonesText));
  },
});

const truthOf = (text: 'true' | 'false' | undefined): boolean | undefined =>
  text === undefined ? undefined : text === 'true';
