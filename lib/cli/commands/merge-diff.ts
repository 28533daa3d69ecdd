// `merge-diff`: two diff streams that follow each other, into one. Needs no site.

import { FarsideError } from '../../errors.ts';
import { DiffReader } from '../../stream/diff-reader.ts';
import { mergeDiffs } from '../../stream/merge.ts';
import { defineCommand } from '../command.ts';
import { pathArgument, pathOption, textArgument } from '../parse/parameters.ts';
import { startProgress, type Progress } from '../output/progress.ts';
import { withBytes } from '../transfer/import-diff.ts';
import { sendParts } from '../transfer/sink.ts';
import { openSource, stdinPath, type Source } from '../transfer/source.ts';
import { framed, streamFrame } from '../output/wording.ts';

export const mergeDiff = defineCommand({
  path: 'merge-diff',
  summary: 'merge two diff exports together',
  description: 'The second must start from the snapshot at which the first ends. Both are those of export-diff (v1).',
  arguments: {
    first: textArgument('diff1-path', 'path to first diff (or - for stdin)', 'first diff was not specified'),
    second: textArgument('diff2-path', 'path to second diff', 'second diff was not specified'),
    path: pathArgument('path to merged diff (or - for stdout)'),
  },
  options: { path: pathOption },
  examples: ['farside merge-diff monday.diff tuesday.diff both.diff'],
  async run({ args, context }) {
    if (args.second === stdinPath) throw new FarsideError('EINVAL', 'only the first diff can come from stdin');
    const open = (path: string): Promise<Source> => openSource(path, context.terminal.stdin);
    const first = await open(args.first);
    const second = await open(args.second);
    const totalBytes = first.sizeBytes === undefined ? undefined : first.sizeBytes + (second.sizeBytes ?? 0);
    const progress = startProgress(context.terminal, context.general, { title: 'Merging image diff', totalBytes });
    try {
      await framed({ ...streamFrame('merge-diff error'), errno: false }, () =>
        merge({ first, second, progress }, (parts) => sendParts(args.path, context.terminal.stdout, parts)),
      );
    } finally {
      progress.stop();
      await first.close();
      await second.close();
    }
  },
});

type Merging = { first: Source; second: Source; progress: Progress };

const merge = (
  { first, second, progress }: Merging,
  send: (parts: AsyncGenerator<Uint8Array>) => Promise<void>,
): Promise<void> =>
  withBytes(first, 'EDOM', (firstBytes) =>
    withBytes(second, 'EDOM', async (secondBytes) => {
      const readers = [await DiffReader.open(firstBytes, [1]), await DiffReader.open(secondBytes, [1])] as const;
      async function* parts(): AsyncGenerator<Uint8Array> {
        for await (const part of mergeDiffs(...readers)) {
          yield part;
          progress.update(firstBytes.positionBytes + secondBytes.positionBytes);
        }
      }
      await send(parts());
    }),
  );
