// `du`: what images and snapshots take, next to what they could.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { WordedFailure } from '../output/failure.ts';
import { defineReport } from '../command.ts';
import type { Context } from '../sites/context.ts';
import { resolvePoolSpec, type PoolSpec } from '../parse/grammar.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { optionalImageOrSnapArgument, switchOption, textOption } from '../parse/parameters.ts';
import { plainUsage } from '../output/plain-image.ts';
import { imageUsage, mergedUsages, type Usage } from '../usage.ts';
import { framed, thenFailed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const frame = { text: 'du failed', errno: true };

export const diskUsage = defineReport({
  path: 'disk-usage',
  aliases: ['du'],
  summary: 'show disk usage of a pool, an image or a snapshot',
  description: 'Used is image data before compression. A snapshot is charged what changed since the one before it.',
  arguments: { image: optionalImageOrSnapArgument },
  options: {
    fromSnap: textOption('--from-snap <snap>', 'snapshot starting point: what came after it'),
    exact: switchOption('--exact', 'accepted; usage is exact always'),
    mergeSnapshots: switchOption('--merge-snapshots', 'merge snapshot sizes with its image'),
  },
  xml: xmlShapes.diskUsage,
  examples: ['farside du vm-1', 'farside du -p backup --format json'],
  async run({ args: { image }, options: { fromSnap, mergeSnapshots }, context, report }) {
    if (fromSnap !== undefined && image === undefined)
      throw new FarsideError('EINVAL', '--from-snap is of one image: image name was not specified');
    const deps = imageDeps(await context.registration(), context.terminal);
    const specs = image === undefined ? await imagesOf(context, resolvePoolSpec(undefined, context.general)) : [image];
    const counted: Usage[] = [];
    for (const spec of specs)
      counted.push(...(await framed(frame, () => imageUsage(deps, spec, fromSnap).catch(sayAbsent(spec)))));
    const usages = mergeSnapshots ? mergedUsages(counted) : counted;
    const total = totalOf(usages, image?.snap !== undefined);
    const totals =
      image === undefined ? { total_provisioned_size: total.provisioned, total_used_size: total.used } : {};
    report({ value: { images: usages, ...totals }, plain: () => plainUsage(usages, total) });
  },
});

/** As rbd, which says twice what is not there. */
const sayAbsent =
  ({ image }: ImageSpec) =>
  (cause: unknown): never => {
    const [, what] = /^(error opening image|snapshot) /.exec(cause instanceof FarsideError ? cause.message : '') ?? [];
    if (what === undefined) throw cause;
    const first = what === 'snapshot' ? 'specified snapshot is not found.' : `specified image ${image} is not found.`;
    throw new WordedFailure('ENOENT', thenFailed(first, frame.text, 'ENOENT'), { cause });
  };

async function imagesOf(context: Context, pool: PoolSpec): Promise<(PoolSpec & { image: string })[]> {
  const client = await context.client();
  const listed = await framed(frame, () => client.listImages(pool));
  return listed.filter((one) => one.snapshot === undefined).map(({ image }) => ({ ...pool, image }));
}

/** rbd counts the provisioned size of heads; of snapshots only where one was asked for. */
function totalOf(usages: readonly Usage[], ofSnapshot: boolean): { provisioned: number; used: number } {
  const sum = (sizes: number[]): number => sizes.reduce((total, bytes) => total + bytes, 0);
  const counted = usages.filter((one) => ofSnapshot || one.snapshot === undefined);
  return {
    provisioned: sum(counted.map((one) => one.provisioned_size)),
    used: sum(usages.map((one) => one.used_size)),
  };
}
