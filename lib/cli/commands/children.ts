// `children`: the clones of an image or of one of its snapshots.

import { defineCommand } from '../command.ts';
import { imageOrSnapArgument, snapIdOption, switchOption } from '../parameters.ts';
import { plainChildren } from '../plain-image.ts';
import { framed } from '../wording.ts';

export const children = defineCommand({
  path: 'children',
  summary: 'display the children of an image or its snapshot',
  arguments: { image: imageOrSnapArgument },
  options: {
    snapId: snapIdOption,
    all: switchOption('-a, --all', 'list all children (include trash)'),
    descendants: switchOption('--descendants', 'include all descendants'),
  },
  examples: ['farside children vm-1', 'farside children vm-1@golden --descendants --format json'],
  async run({ args: { image }, options, context }) {
    const { all, descendants, snapId } = options;
    const client = await context.client();
    const listed = await framed({ text: 'listing children failed', errno: true }, () =>
      client.listChildren(image, { snap: image.snap, snapId, descendants }),
    );
    const shown = listed.filter(({ trash }) => all || !trash);
    const value = all
      ? shown
      : shown.map(({ pool, pool_namespace, image: name }) => ({ pool, pool_namespace, image: name }));
    context.output.report({ value, plain: () => plainChildren(shown) });
  },
});
