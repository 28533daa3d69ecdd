// `mirror pool peer set`: changes one property of a peer.

import { defineCommand } from '../command.ts';
import { optionalTextArgument, poolArgument, textArgument } from '../parse/parameters.ts';
import { readSecret } from '../sites/secret-file.ts';
import { unframed } from '../output/wording.ts';

export const mirrorPoolPeerSet = defineCommand({
  path: 'mirror pool peer set',
  summary: 'change a property of a peer',
  description:
    "Keys: client, cluster or site-name (its name here), direction (rx-only, tx-only or rx-tx, of this side only), mon-host (its URL), key-file (a file that holds the key of one of its bootstrap tokens: the two sites are introduced anew). Values are shown by 'farside mirror pool info --all'.",
  arguments: {
    pool: poolArgument,
    uuid: textArgument('uuid', "peer uuid ('farside mirror pool info' shows it)", 'must specify peer uuid'),
    key: optionalTextArgument('key', 'what to change'),
    value: optionalTextArgument('value', 'its new value'),
  },
  options: {},
  examples: [
    'farside mirror pool peer set rbd 71249ac3-c569-4c3d-a9d0-50c2f0482888 direction rx-tx',
    'farside mirror pool peer set rbd 71249ac3-c569-4c3d-a9d0-50c2f0482888 mon-host https://farside-site-a.example.workers.dev',
  ],
  async run({ args: { pool, uuid, key = '', value = '' }, context }) {
    const isFile = key === 'key-file' && value !== '';
    const text = isFile ? ((await readSecret(value, context.terminal.stdin)) ?? '') : value;
    const client = await context.client();
    await unframed(() => client.setPeer(pool, uuid, { key, value: text }));
  },
});
