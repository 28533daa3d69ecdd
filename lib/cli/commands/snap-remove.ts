// `snap rm`: deletes a snapshot.

import { defineCommand } from '../command.ts';
import { snapArgument } from '../parameters.ts';
import { framed } from '../wording.ts';

export const snapRemove = defineCommand({
  path: 'snap remove',
  aliases: ['rm'],
  summary: 'delete a snapshot',
  arguments: { snap: snapArgument },
  options: {},
  examples: ['farside snap rm vm-1@before-upgrade'],
  async run({ args: { snap }, context }) {
    const client = await context.client();
    const instead = {
      EBUSY: `snapshot '${snap.snap}' is protected from removal.\nunprotect it with 'farside snap unprotect' first`,
    };
    await framed({ text: 'failed to remove snapshot', errno: true, instead }, () =>
      client.removeSnapshot(snap, snap.snap),
    );
  },
});
