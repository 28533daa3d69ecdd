// `snap ls`: the snapshots of an image; with --all those of mirroring too.

import { defineReport } from '../command.ts';
import { imageArgument, switchOption, insteadOfSpec } from '../parse/parameters.ts';
import { plainSnapshots } from '../output/plain-image.ts';
import type { Snapshots } from '../client/shapes.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const snapList = defineReport({
  path: 'snap list',
  aliases: ['ls'],
  summary: "list an image's snapshots",
  arguments: { image: imageArgument },
  options: {
    ...insteadOfSpec,
    all: switchOption('-a, --all', 'list snapshots from all namespaces: those of mirroring too'),
  },
  xml: xmlShapes.snapshots,
  examples: ['farside snap ls vm-1', 'farside snap ls --all vm-1 --format json'],
  async run({ args, options, context, report }) {
    const { all } = options;
    const client = await context.client();
    const value = await framed({ text: 'failed to list snapshots', errno: true }, () =>
      client.listSnapshots(args.image, { all }),
    );
    const needsCount = context.output.format === 'plain' && value.some(isCopying);
    const objectCount = needsCount ? (await client.imageInfo(args.image)).objects : 0;
    report({ value, plain: () => plainSnapshots(value, { all, objectCount }) });
  },
});

const isCopying = (snapshot: Snapshots[number]): boolean => snapshot.namespace?.complete === false;
