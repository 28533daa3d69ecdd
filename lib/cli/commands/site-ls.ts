// `site ls`: the sites that this user's CLI knows. A local site runs when its directory's lock is held, a remote one when it
// answers. Tokens are not shown.

import { lockHolder } from '../../../infra/local/site-lock.ts';
import { defineReport } from '../command.ts';
import { answers } from '../sites/local-sites.ts';
import { listSites, type Registration } from '../sites/registry.ts';
import { textTable } from '../output/text-table.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const siteLs = defineReport({
  path: 'site ls',
  aliases: ['list'],
  summary: 'list the known sites',
  arguments: {},
  options: {},
  xml: xmlShapes.sites,
  examples: ['farside site ls', 'farside site ls --format json --pretty-format'],
  async run({ context, report }) {
    const registered = await listSites(context.home);
    const sites = await Promise.all(registered.map((site) => describeSite(site, context.terminal.fetch)));
    report({
      value: sites,
      plain: () => textTable(columns, sites.map(row)),
    });
  },
});

const columns = ['NAME', 'URL', 'PLATFORM', 'PID', 'RUNNING', 'DIRECTORY'].map((header) => ({ header }));

type SiteLine = {
  name: string;
  url: string;
  platform: string;
  pid: number | null;
  running: boolean;
  directory: string | null;
};

async function describeSite(site: Registration, fetcher: typeof fetch): Promise<SiteLine> {
  const { name, url, platform, directory } = site;
  if (directory === undefined)
    return { name, url, platform, pid: null, running: await answers(url, fetcher), directory: null };
  const holder = lockHolder(directory);
  return { name, url, platform, pid: holder?.pid ?? null, running: holder !== undefined, directory };
}

const row = (site: SiteLine): string[] => [
  site.name,
  site.url,
  site.platform,
  String(site.pid ?? '-'),
  site.running ? 'yes' : 'no',
  site.directory ?? '-',
];
