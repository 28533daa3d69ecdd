// `children`: the clones of an image or of one of its snapshots.

import { defineReport } from '../command.ts';
import { imageOrSnapArgument, snapIdOption, switchOption, insteadOfSpec } from '../parse/parameters.ts';
import { plainChildren } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const frame = { text: 'listing children failed', errno: true, instead: { ENOENT: 'snapshot does not exist.' } };

export const children = defineReport({
  path: 'children',
  summary: 'display the children of an image or its snapshot',
  arguments: { image: imageOrSnapArgument },
  options: {
    ...insteadOfSpec,
    snapId: snapIdOption,
    all: switchOption('-a, --all', 'list all children (include trash)'),
    descendants: switchOption('--descendants', 'include all descendants'),
  },
  xml: xmlShapes.children,
  examples: ['farside children vm-1', 'farside children vm-1@golden --descendants --format json'],
  async run({ args: { image }, options, context, report }) {
    const { all, descendants, snapId } = options;
    const client = await context.client();
    const listed = await framed(frame, () => client.clones.children(image, { snap: image.snap, snapId, descendants }));
    const shown = listed.filter(({ trash }) => all || !trash);
    const value = all
      ? shown
      : shown.map(({ pool, pool_namespace, image: name }) => ({ pool, pool_namespace, image: name }));
    report({ value, plain: () => plainChildren(shown) });
  },
});
