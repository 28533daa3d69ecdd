// `ls`: the images of a pool.

import { FarsideError } from '../../errors.ts';
import { defineReport } from '../command.ts';
import { poolAndNamespaceArgument, switchOption } from '../parse/parameters.ts';
import { plainListedImages } from '../output/plain-image.ts';
import { framed, thenFailed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const frame = { text: 'listing images failed', errno: true };

/** As rbd, of a pool that is not there. */
function saidTwice(cause: unknown): never {
  if (!(cause instanceof FarsideError) || !cause.message.startsWith('error opening pool ')) throw cause;
  throw new FarsideError(cause.code, thenFailed(cause.message, frame.text, cause.code), { cause });
}

export const list = defineReport({
  path: 'list',
  aliases: ['ls'],
  summary: 'list images',
  arguments: { pool: poolAndNamespaceArgument },
  options: { long: switchOption('-l, --long', 'sizes and snapshots too') },
  xml: xmlShapes.images,
  examples: ['farside ls', 'farside ls -l backup', 'farside ls backup --format json'],
  async run({ args, options, context, report }) {
    const client = await context.client();
    const images = await framed(frame, () => client.listImages(args.pool)).catch(saidTwice);
    if (options.long) return report({ value: images, plain: () => plainListedImages(images) });
    const names = images.filter((one) => one.snapshot === undefined).map((one) => one.image);
    report({ value: names, plain: () => names.map((name) => `${name}\n`).join('') });
  },
});
