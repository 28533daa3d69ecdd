// `queue retry`: sends messages again that were given up.

import { defineReport } from '../command.ts';
import { failureIdArgument } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const queueRetry = defineReport({
  path: 'queue retry',
  summary: 'send again messages that were given up: one, or all',
  arguments: { id: failureIdArgument },
  options: {},
  xml: xmlShapes.retried,
  examples: ['farside queue retry', 'farside queue retry 4c1f7bd0e6a94d1b8a7f30a95f1f0e1c'],
  async run({ args, context, report }) {
    const client = await context.client();
    const value = await unframed(() => client.retryFailures(args.id));
    const left = value.left === 0 ? '' : `; ${value.left} cannot be, see 'farside queue ls'`;
    report({ value, plain: () => `${value.sent} sent again${left}\n` });
  },
});
