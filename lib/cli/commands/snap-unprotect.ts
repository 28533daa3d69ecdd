// `snap unprotect`: allows a snapshot to be deleted again.

import { defineCommand } from '../command.ts';
import { snapArgument, insteadOfSpec } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const snapUnprotect = defineCommand({
  path: 'snap unprotect',
  summary: 'allow a snapshot to be deleted',
  arguments: { snap: snapArgument },
  options: insteadOfSpec,
  examples: ['farside snap unprotect vm-1@golden'],
  async run({ args: { snap }, context }) {
    const client = await context.client();
    const instead = { EINVAL: 'snap is already unprotected' };
    await framed({ text: 'unprotecting snap failed', errno: true, instead }, () =>
      client.changeSnapshot(snap, snap.snap, { protected: false }),
    );
  },
});
