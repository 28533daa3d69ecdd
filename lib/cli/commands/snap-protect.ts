// `snap protect`: keeps a snapshot from being deleted.

import { defineCommand } from '../command.ts';
import { snapArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const snapProtect = defineCommand({
  path: 'snap protect',
  summary: 'prevent a snapshot from being deleted',
  arguments: { snap: snapArgument },
  options: {},
  examples: ['farside snap protect vm-1@golden'],
  async run({ args: { snap }, context }) {
    const client = await context.client();
    const instead = { EBUSY: 'snap is already protected' };
    await framed({ text: 'protecting snap failed', errno: true, instead }, () =>
      client.changeSnapshot(snap, snap.snap, { protected: true }),
    );
  },
});
