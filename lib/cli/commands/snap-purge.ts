// `snap purge`: deletes all unprotected user snapshots of an image. Mirror snapshots are mirroring's.

import { defineCommand } from '../command.ts';
import { imageArgument, insteadOfSpec } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const snapPurge = defineCommand({
  path: 'snap purge',
  summary: 'delete all unprotected snapshots',
  description: 'With --image-id also of an image in the trash, which snapshots keep there.',
  arguments: { image: imageArgument },
  options: insteadOfSpec,
  examples: ['farside snap purge vm-1', 'farside snap purge -p rbd --image-id 0123456789abcdef01234567'],
  async run({ args, context }) {
    const client = await context.client();
    const purged = await framed({ text: 'removing snaps failed', errno: true }, () =>
      client.purgeSnapshots(args.image),
    );
    if (purged.protected.length > 0) context.output.line(keptText(purged.protected));
  },
});

const keptText = (names: string[]): string =>
  `farside: error removing snapshot(s) '${names.join(', ')}', which ${names.length === 1 ? 'is' : 'are'} protected - these must be unprotected with 'farside snap unprotect'.`;
