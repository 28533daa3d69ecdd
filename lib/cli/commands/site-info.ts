// `site info`: who a site is, and what it has asked of its bucket since it was started.

import { defineReport } from '../command.ts';
import { formatBytes } from '../parse/grammar.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const siteInfo = defineReport({
  path: 'site info',
  summary: 'show a site and the requests it has made',
  description: 'Requests to the bucket are counted by price class since the process (or Worker isolate) began.',
  arguments: {},
  options: {},
  xml: xmlShapes.site,
  examples: ['farside --cluster site-a site info', 'farside --cluster site-a site info --format json'],
  async run({ context, report }) {
    const value = await (await context.client()).siteInfo();
    const { requests } = value;
    report({
      value,
      plain: () =>
        [
          `Name: ${value.name}`,
          `URL: ${value.url}`,
          `Site ID: ${value.site_id}`,
          `Platform: ${value.platform}`,
          `Version: ${value.version}`,
          `Pools: ${value.pools.join(', ') || 'none'}`,
          `Requests: ${requests.A} class A, ${requests.B} class B, ${requests.free} free`,
          `Bytes: ${formatBytes(requests.bytesIn)} read, ${formatBytes(requests.bytesOut)} written`,
          '',
        ].join('\n'),
    });
  },
});
