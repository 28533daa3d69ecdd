// `site remove`: forgets a site. What it holds stays where it is.

import { lockHolder } from '../../../infra/local/site-lock.ts';
import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { registeredSite, siteNameOption } from '../sites/local-sites.ts';
import { unregisterSite } from '../sites/registry.ts';

export const siteRemove = defineCommand({
  path: 'site remove',
  aliases: ['rm'],
  summary: 'forget a site',
  description: `Removes the registration (and the token in it), not the site. A local site's directory stays, with its objects and its token:
'farside site start --name NAME --dir DIRECTORY' brings it back.`,
  arguments: {},
  options: { name: siteNameOption },
  examples: ['farside site remove --name site-b'],
  async run({ options, context }) {
    const { name, directory } = await registeredSite(context.home, options.name);
    const holder = directory === undefined ? undefined : lockHolder(directory);
    if (holder !== undefined)
      throw new FarsideError(
        'EBUSY',
        `site '${name}' runs (pid ${holder.pid}): stop it with 'farside site stop --name ${name}'`,
      );
    await unregisterSite(context.home, name);
    if (directory !== undefined) context.output.note(`its objects stay in ${directory}`);
  },
});
