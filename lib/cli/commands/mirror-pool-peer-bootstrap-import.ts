// `mirror pool peer bootstrap import`: makes the site that made the token a peer of this one.

import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { FarsideError } from '../../errors.ts';
import type { Direction } from '../client.ts';
import { defineCommand } from '../command.ts';
import { choiceOption, poolArgument, textArgument, textOption } from '../parameters.ts';
import { framed } from '../wording.ts';

const directions: readonly Direction[] = ['rx-only', 'rx-tx'];
const directionDefault: Direction = 'rx-tx';
/** A token is a few hundred bytes; a larger file is another one. */
const tokenBytesMax = 64 * 1024;

export const mirrorPoolPeerBootstrapImport = defineCommand({
  path: 'mirror pool peer bootstrap import',
  summary: 'import a bootstrap token made by a peer site',
  description:
    'The token is read from a file, or from standard input with -. If mirroring is off on the pool, it is enabled in the mode of the peer.',
  arguments: {
    pool: poolArgument,
    path: textArgument('token-path', 'file that holds the token, or - for stdin', 'token path was not specified'),
  },
  options: {
    siteName: textOption('--site-name <name>', 'name by which peers know this site'),
    direction: choiceOption(
      '--direction <direction>',
      `mirroring direction (default: ${directionDefault})`,
      directions,
    ),
  },
  examples: [
    'farside --cluster site-b mirror pool peer bootstrap import --direction rx-only rbd token',
    'farside --cluster site-a mirror pool peer bootstrap create rbd | farside --cluster site-b mirror pool peer bootstrap import rbd -',
  ],
  async run({ args: { pool, path }, options, context }) {
    const token = await readToken(path, context.terminal.stdin);
    const client = await context.client();
    const siteName = options.siteName === undefined ? {} : { siteName: options.siteName };
    const frame = { text: 'failed to import peer bootstrap token', errno: false };
    await framed(frame, () =>
      client.importBootstrapToken(pool, { token, direction: options.direction ?? directionDefault, ...siteName }),
    );
  },
});

async function readToken(path: string, stdin: Readable): Promise<string> {
  const text = path === '-' ? await readStream(stdin) : await readTokenFile(path);
  if (text.length > tokenBytesMax)
    throw new FarsideError('EINVAL', 'failed to import peer bootstrap token\nwhat was given is too long for a token');
  return text.trim();
}

async function readTokenFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const isThere = !(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT');
    throw new FarsideError(isThere ? 'EACCES' : 'ENOENT', `error opening ${path}`, { cause });
  }
}

async function readStream(stream: Readable): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream) {
    parts.push(Buffer.from(part as Uint8Array | string));
    bytes += parts.at(-1)!.length;
    if (bytes > tokenBytesMax) break;
  }
  return Buffer.concat(parts).toString('utf8');
}
