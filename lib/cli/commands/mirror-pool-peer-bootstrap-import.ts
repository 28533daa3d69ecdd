// `mirror pool peer bootstrap import`: makes the site that made the token a peer of this one.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { pathArgument, poolArgument, textOption } from '../parse/parameters.ts';
import { additionalOption, directionDefault, directionOption } from '../sites/peers.ts';
import { readSecret } from '../sites/secret-file.ts';
import { framed } from '../output/wording.ts';

export const mirrorPoolPeerBootstrapImport = defineCommand({
  path: 'mirror pool peer bootstrap import',
  summary: 'import a bootstrap token made by a peer site',
  description:
    'The token is read from a file, or from standard input with -. If mirroring is off on the pool, it is enabled in the mode of the peer.',
  arguments: {
    pool: poolArgument,
    path: pathArgument('file that holds the token, or - for stdin', 'token path'),
  },
  options: {
    path: textOption('--token-path <path>', 'file that holds the token, instead of the argument'),
    siteName: textOption('--site-name <name>', 'name by which peers know this site'),
    direction: directionOption,
    additional: additionalOption,
  },
  examples: [
    'farside --cluster site-b mirror pool peer bootstrap import --direction rx-only rbd token',
    'farside --cluster site-a mirror pool peer bootstrap create rbd | farside --cluster site-b mirror pool peer bootstrap import rbd -',
  ],
  async run({ args: { pool, path }, options, context }) {
    const token = await readSecret(path, context.terminal.stdin);
    if (token === undefined)
      throw new FarsideError('EINVAL', 'failed to import peer bootstrap token\nwhat was given is too long for a token');
    const client = await context.client();
    const siteName = options.siteName === undefined ? {} : { siteName: options.siteName };
    const frame = { text: 'failed to import peer bootstrap token', errno: false };
    await framed(frame, () =>
      client.importBootstrapToken(pool, {
        token,
        direction: options.direction ?? directionDefault,
        additional: options.additional,
        ...siteName,
      }),
    );
  },
});
