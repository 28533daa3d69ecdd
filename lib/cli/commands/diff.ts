// `diff`: which ranges of an image differ from an earlier snapshot, told from the maps without reading data.

import type { ChangedRange } from '../../image/map/changes.ts';
import { defineReport } from '../command.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { differenceOptions, imageOrSnapArgument } from '../parse/parameters.ts';
import { plainDiff } from '../output/plain-image.ts';
import { differenceRanges, openDifference } from '../transfer/export-diff.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const failure = 'diff error';

export const diff = defineReport({
  path: 'diff',
  summary: 'print extents that differ since a previous snap, or image creation',
  description:
    'Ranges are those of the map: blocks that were written, or objects with --whole-object. Data that was written again as it was may be among them.',
  arguments: { image: imageOrSnapArgument },
  options: differenceOptions,
  xml: xmlShapes.extents,
  examples: ['farside diff vm-1', 'farside diff --from-snap monday vm-1@tuesday --format json'],
  async run({ args, options, context, report }) {
    const deps = imageDeps(await context.registration(), context.terminal);
    const difference = await openDifference(deps, args.image, options, failure);
    const ranges: ChangedRange[] = [];
    await framed({ text: failure, errno: true }, async () => {
      for await (const range of differenceRanges(difference)) ranges.push(range);
    });
    report({ value: ranges.map(rangeShape), plain: () => plainDiff(ranges) });
  },
});

const rangeShape = ({ offset, length, exists }: ChangedRange) => ({
  offset,
  length,
  exists: exists ? 'true' : 'false',
});
