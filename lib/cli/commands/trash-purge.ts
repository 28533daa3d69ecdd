// `trash purge`: removes what has expired from the trash.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { parseTimeMs } from '../parse/dates.ts';
import { withErrno } from '../output/failure.ts';
import { invalidNumber } from '../parse/grammar.ts';
import { parsedOption, poolAndNamespaceArgument, textOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

function parseRatio(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw invalidNumber('--threshold', text);
  return Number(text);
}

export const trashPurge = defineCommand({
  path: 'trash purge',
  summary: 'remove all expired images from the trash',
  description:
    'What mirroring put there is left to the delete delay. A bucket has no capacity, so it is below every --threshold, and nothing is removed then.',
  arguments: { pool: poolAndNamespaceArgument },
  options: {
    expiredBefore: textOption(
      '--expired-before <date>',
      'what expired before then, as date(1) reads it (default: now)',
    ),
    threshold: parsedOption('--threshold <ratio>', 'until the pool is used to this ratio, 0.0 to 1.0', parseRatio),
  },
  examples: ['farside trash purge', 'farside trash purge backup --expired-before yesterday'],
  async run({ args, options, context }) {
    if (options.threshold !== undefined) {
      if (options.threshold > 1)
        throw new FarsideError(
          'EINVAL',
          `${withErrno('remove error', 'EINVAL')}\nargument 'threshold' is out of valid range`,
        );
      return context.output.note(
        'a bucket has no capacity, so its usage is below every threshold: nothing was removed',
      );
    }
    const nowMs = context.terminal.clock.nowMs();
    const beforeMs = options.expiredBefore === undefined ? undefined : await parseTimeMs(options.expiredBefore, nowMs);
    const client = await context.client();
    const kept = await framed({ text: 'remove error', errno: true }, () => client.trash.purge(args.pool, beforeMs));
    if (kept.length === 0) return;
    const why = `some expired images could not be removed\nThey have snapshots, which must be removed after 'farside trash restore': ${kept.join(', ')}`;
    throw new FarsideError('ENOTEMPTY', why);
  },
});
