// `rm`: deletes an image. Its data goes in the background.

import { linkedClonesText } from '../../image/images.ts';
import { defineCommand } from '../command.ts';
import { imageArgument } from '../parameters.ts';
import { framed, tellingItself } from '../wording.ts';

const frame = {
  text: 'delete error',
  errno: true,
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
  description: 'A mirrored primary takes its replicas with it.',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside rm vm-1', 'farside rm backup/vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    await framed(frame, () => client.removeImage(args.image)).catch(tellingItself(linkedClonesText));
  },
});
