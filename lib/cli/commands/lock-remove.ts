// `lock rm`: releases a lock, also another's.

import { defineCommand } from '../command.ts';
import { imageArgument, lockIdArgument, textArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const lockRemove = defineCommand({
  path: 'lock remove',
  aliases: ['rm', 'break'],
  summary: 'release a lock on an image',
  description:
    'The lock of an attached writer (its id begins with auto) is taken away: the writer is shut out at once, and what it flushed stays.',
  arguments: {
    image: imageArgument,
    id: lockIdArgument,
    locker: textArgument('locker', 'locker client, as `lock ls` shows it', 'locker was not specified'),
  },
  options: {},
  examples: ['farside lock rm vm-1 backup client.4277'],
  async run({ args: { image, id, locker }, context }) {
    const client = await context.client();
    await framed({ text: 'releasing lock failed', errno: true }, () => client.locks.remove(image, { id, locker }));
  },
});
