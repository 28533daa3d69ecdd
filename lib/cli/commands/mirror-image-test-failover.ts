// `mirror image test-failover`: a writable clone of a replica, for trying a failover out while replication goes on.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { defineReport } from '../command.ts';
import { imageArgument, optionalImageArgument, snapIdOption, switchOption } from '../parse/parameters.ts';
import { plainTestFailovers } from '../output/plain-mirror.ts';
import { framed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const frame = { text: 'test failover error', errno: true };

export const mirrorImageTestFailover = defineReport({
  path: 'mirror image test-failover',
  summary: 'make a writable clone of a replica to try a failover out, list such clones, or clean them up',
  description:
    'The clone is there at once, as the image was at its newest complete mirror snapshot, or at the one that --snap-id names (`snap ls --all`). The snapshot is held until the ' +
    'clean-up, which removes the clones with their snapshots. A clone that was flattened is an image of its own.',
  arguments: { image: imageArgument, target: optionalImageArgument },
  options: {
    snapId: snapIdOption,
    list: switchOption('--list', 'list the test clones of the image'),
    cleanup: switchOption('--cleanup', 'remove the test clones of the image, or the one that is named'),
  },
  xml: xmlShapes.testFailovers,
  examples: [
    'farside --cluster site-b mirror image test-failover vm-1 vm-1-drill',
    'farside --cluster site-b mirror image test-failover vm-1 --list',
    'farside --cluster site-b mirror image test-failover vm-1 --cleanup',
  ],
  async run({ args: { image, target }, options: { snapId, list, cleanup }, context, report }) {
    const client = await context.client();
    if (list && cleanup) throw new FarsideError('EINVAL', 'use either --list or --cleanup');
    if (list || cleanup) {
      const listed = await framed(frame, () => client.replicas.listTestFailovers(image));
      if (list) return report({ value: listed, plain: () => plainTestFailovers(listed) });
      const id = target && listed.find((one) => isNamed(one, target))?.id;
      if (target && id === undefined)
        throw new FarsideError('ENOENT', `image ${target.image} is no test failover of ${image.image}`);
      await framed(frame, () => client.replicas.cleanUpTestFailovers(image, id));
      return;
    }
    if (!target) throw new FarsideError('EINVAL', 'destination image name was not specified');
    const { pool, namespace, image: name } = target;
    await framed(frame, () =>
      client.replicas.startTestFailover(image, { pool, namespace, name, ...(snapId === undefined ? {} : { snapId }) }),
    );
  },
});

const isNamed = (one: { pool: string; pool_namespace: string; image: string }, target: ImageSpec): boolean =>
  one.pool === target.pool && one.pool_namespace === target.namespace && one.image === target.image;
