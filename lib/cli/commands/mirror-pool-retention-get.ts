// `mirror pool retention get`: the policy.

import { defineReport } from '../command.ts';
import { poolArgument } from '../parse/parameters.ts';
import { plainPoolRetention } from '../output/plain-mirror.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const mirrorPoolRetentionGet = defineReport({
  path: 'mirror pool retention get',
  summary: "show which mirror snapshots of a pool's images are kept here",
  arguments: { pool: poolArgument },
  options: {},
  xml: xmlShapes.retention,
  examples: ['farside --cluster site-b mirror pool retention get rbd'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.replicas.poolRetention(args.pool));
    report({ value, plain: () => plainPoolRetention(value) });
  },
});
