// `mirror pool peer remove`: forgets a peer. Removing one that is not there succeeds.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { poolArgument, textArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';

const uuidPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export const mirrorPoolPeerRemove = defineCommand({
  path: 'mirror pool peer remove',
  aliases: ['rm'],
  summary: 'remove a peer from a pool',
  arguments: {
    pool: poolArgument,
    uuid: textArgument('uuid', "peer uuid ('farside mirror pool info' shows it)", 'must specify peer uuid'),
  },
  options: {},
  examples: ['farside mirror pool peer remove rbd 71249ac3-c569-4c3d-a9d0-50c2f0482888'],
  async run({ args: { pool, uuid }, context }) {
    if (!uuidPattern.test(uuid)) throw new FarsideError('EINVAL', 'invalid uuid');
    const client = await context.client();
    await unframed(() => client.removePeer(pool, uuid));
  },
});
