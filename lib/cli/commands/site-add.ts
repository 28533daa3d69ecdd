// `site add`: makes a deployed site known to the CLI, after checking that it answers to the token.

import { readFile } from 'node:fs/promises';
import { FarsideError } from '../../errors.ts';
import { Client } from '../client/client.ts';
import { defineCommand } from '../command.ts';
import { siteNameOption } from '../sites/local-sites.ts';
import { textOption } from '../parse/parameters.ts';
import { changeSite, type Registration } from '../sites/registry.ts';
import { parseSiteUrl } from '../parse/site-url.ts';

export const siteAdd = defineCommand({
  path: 'site add',
  summary: 'register a site that runs elsewhere',
  description:
    'The token is read from a file (- for standard input), so that it stands neither in the shell history nor in the process list.',
  arguments: {},
  options: {
    name: siteNameOption,
    url: textOption('--url <url>', 'address of the site: https, or http on this machine'),
    tokenFile: textOption('--token-file <file>', 'file that holds the token'),
  },
  examples: [
    'farside site add --name site-b --url https://farside-site-b.example.workers.dev --token-file site-b.token',
  ],
  async run({ options, context }) {
    const url = parseSiteUrl(options.url);
    const token = await readToken(options.tokenFile, context.terminal.stdin);
    const site: Registration = { name: options.name, url, token, platform: 'remote' };
    const { platform, store } = await new Client(site, context.terminal.fetch).siteInfo();
    await changeSite(context.home, site.name, (present) => {
      if (present !== undefined)
        throw new FarsideError(
          'EEXIST',
          `site '${site.name}' is registered already: forget it with 'farside site remove --name ${site.name}'`,
        );
      return { ...site, platform, ...(store && { store }) };
    });
  },
});

async function readToken(file: string | undefined, stdin: AsyncIterable<Uint8Array | string>): Promise<string> {
  if (file === undefined) throw new FarsideError('EINVAL', 'the token was not specified: give --token-file');
  const text = file === '-' ? await readAll(stdin) : await readFile(file, 'utf8');
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) throw new FarsideError('EINVAL', `${file} does not hold a token`);
  return token;
}

async function readAll(stream: AsyncIterable<Uint8Array | string>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString('utf8');
}
