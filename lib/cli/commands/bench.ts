// `bench`: how fast an image is read or written from here; scripts also use it to change one.

import { FarsideError } from '../../errors.ts';
import { benchColumns, benchHeading, benchRow, benchSummary, ioPatterns, ioTypes, runBench } from '../bench.ts';
import type { Bench } from '../bench.ts';
import { defineCommand } from '../command.ts';
import { withErrno } from '../output/failure.ts';
import { formatBytes, parseIoBytes } from '../parse/grammar.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { choiceOption, imageOrSnapArgument, integerOption, parsedOption } from '../parse/parameters.ts';
import { openContent } from '../transfer/export.ts';
import { framed, snapshotContextFrame } from '../output/wording.ts';

const defaults = { ioBytes: 4096, threads: 16, totalBytes: 1024 ** 3, pattern: 'seq', readPercent: 50 } as const;

export const bench = defineCommand({
  path: 'bench',
  summary: 'benchmark reads or writes of an image',
  description:
    'Writes random data into the image. They are committed, and durable, 64 MiB (or 65536 operations) at a time, and at the end; the time of that is in the numbers.',
  arguments: { image: imageOrSnapArgument },
  options: {
    ioType: choiceOption('--io-type <type>', 'IO type', ioTypes),
    ioSize: parsedOption('--io-size <size>', 'IO size (in B/K/M/G/T) [default: 4K]', parseIoBytes('--io-size')),
    ioThreads: integerOption('--io-threads <count>', 'IOs in flight [default: 16]', { min: 1, max: 1024 }),
    ioTotal: parsedOption(
      '--io-total <size>',
      'total size for IO (in B/K/M/G/T) [default: 1G]',
      parseIoBytes('--io-total'),
    ),
    ioPattern: choiceOption('--io-pattern <pattern>', 'IO pattern [default: seq]', ioPatterns),
    readPercent: integerOption('--rw-mix-read <percent>', 'reads of readwrite, in per cent [default: 50]', {
      min: 0,
      max: 100,
    }),
  },
  examples: [
    'farside bench --io-type write --io-size 4K --io-total 64M --io-pattern rand vm-1',
    'farside bench --io-type read vm-1@before',
  ],
  async run({ args: { image }, options, context }) {
    const { ioType } = options;
    if (ioType === undefined) throw new FarsideError('EINVAL', '--io-type must be specified.');
    if (options.ioSize === 0) throw new FarsideError('EINVAL', '--io-size should be greater than zero.');
    const asked: Bench = {
      type: ioType === 'rw' ? 'readwrite' : ioType,
      ioBytes: options.ioSize ?? defaults.ioBytes,
      threads: options.ioThreads ?? defaults.threads,
      totalBytes: options.ioTotal ?? defaults.totalBytes,
      pattern: options.ioPattern ?? defaults.pattern,
      readPercent: options.readPercent ?? defaults.readPercent,
    };
    if (asked.type !== 'read' && image.snap !== undefined)
      throw new FarsideError('EINVAL', "snapshot name specified for a command that doesn't use it");
    const deps = imageDeps(await context.registration(), context.terminal);
    const { sizeBytes } = await framed(snapshotContextFrame('bench failed'), () => openContent(deps, image));
    if (asked.ioBytes > sizeBytes) {
      const sizes = `io-size ${formatBytes(asked.ioBytes)} larger than image size ${formatBytes(sizeBytes)}`;
      throw new FarsideError('EINVAL', `${sizes}\n${withErrno('bench failed', 'EINVAL')}`);
    }
    const { output } = context;
    output.line(benchHeading(asked));
    output.line(benchColumns);
    try {
      const totals = await runBench(deps, image, asked, (tally) => output.line(benchRow(tally)));
      output.text(benchSummary(asked, totals));
    } catch (error) {
      if (!(error instanceof FarsideError) || error.code !== 'EROFS') throw error;
      // As rbd, which finds out with the first write.
      output.line(withErrno('write error', error.code));
      throw new FarsideError(error.code, withErrno(error.message, error.code), { cause: error });
    }
  },
});
