// `trash list`: what is in the trash of a pool.

import { defineReport } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parse/parameters.ts';
import { plainTrash, plainTrashNames } from '../output/plain-image.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

export const trashList = defineReport({
  path: 'trash list',
  aliases: ['ls'],
  summary: 'list images in the trash',
  arguments: { pool: poolAndNamespaceArgument },
  options: {
    all: switchOption('-a, --all', 'also what mirroring put there'),
    long: switchOption('-l, --long', 'who put it there, when, and until when it is kept'),
  },
  xml: xmlShapes.trash,
  examples: ['farside trash ls', 'farside trash ls --all --long backup --format json'],
  async run({ args, options, context, report }) {
    const client = await context.client();
    const listed = await framed({ text: 'trash list', errno: true }, () => client.trash.list(args.pool, options));
    const images = listed.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    if (options.long) return report({ value: images, plain: () => plainTrash(images) });
    report({
      value: images.map(({ id, name }) => ({ id, name })),
      plain: () => plainTrashNames(images),
    });
  },
});
