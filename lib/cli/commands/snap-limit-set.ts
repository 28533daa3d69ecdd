// `snap limit set`: how many snapshots an image may have.

import { FarsideError } from '../../errors.ts';
import { userSnapshotsMax } from '../../image/snapshots.ts';
import { defineCommand } from '../command.ts';
import { imageArgument, integerOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

const limitRange = { min: 0, max: 999_999_999_999 };

export const snapLimitSet = defineCommand({
  path: 'snap limit set',
  summary: 'limit the number of snapshots',
  description: `Mirror snapshots do not count. An image has ${userSnapshotsMax} snapshots at most in any case. Replicas get the limit with the next mirror snapshot.`,
  arguments: { image: imageArgument },
  options: { limit: integerOption('--limit <count>', 'maximum allowed snapshot count', limitRange) },
  examples: ['farside snap limit set vm-1 --limit 10'],
  async run({ args, options: { limit }, context }) {
    if (limit === undefined) throw new FarsideError('ERANGE', 'must specify --limit <num>');
    const client = await context.client();
    await framed({ text: 'setting snapshot limit failed', errno: true }, () =>
      client.setSnapshotLimit(args.image, limit),
    );
  },
});
