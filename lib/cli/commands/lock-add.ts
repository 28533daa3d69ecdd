// `lock add`: says that an image is in use.

import { hostname } from 'node:os';
import { defineCommand } from '../command.ts';
import { imageArgument, lockIdArgument, textOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const lockAdd = defineCommand({
  path: 'lock add',
  summary: 'take a lock on an image',
  description:
    'The lock is advisory: it keeps nobody from writing, and is not mirrored. It stays until it is removed. Those that share one say the same tag.',
  arguments: { image: imageArgument, id: lockIdArgument },
  options: { shared: textOption('--shared <tag>', 'take a shared lock, of this tag') },
  examples: ['farside lock add vm-1 backup', 'farside lock add vm-1 reader-1 --shared readers'],
  async run({ args: { image, id }, options: { shared: tag }, context }) {
    const client = await context.client();
    const held = `lock is already held by someone else${tag === undefined ? '' : ' with a different tag'}`;
    await framed({ text: 'taking lock failed', errno: true, instead: { EBUSY: held, EEXIST: held } }, () =>
      client.locks.add(image, { id, tag, address: `${hostname()}:0/${process.pid}` }),
    );
  },
});
