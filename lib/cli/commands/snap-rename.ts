// `snap rename`: another name for a snapshot of the same image.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { destinationArgument, destinationOptions } from '../parse/destinations.ts';
import { snapArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const snapRename = defineCommand({
  path: 'snap rename',
  summary: 'rename a snapshot',
  arguments: { snap: snapArgument, destination: destinationArgument('snap') },
  options: destinationOptions,
  examples: ['farside snap rename vm-1@monday vm-1@week-47'],
  async run({ args: { snap, destination }, context }) {
    const same = (what: string, source: string, other: string | undefined): void => {
      if (other !== undefined && other !== source)
        throw new FarsideError('EINVAL', `source and destination ${what} must be the same`);
    };
    same('pool', snap.pool, destination.pool);
    same('namespace', snap.namespace, destination.namespace);
    same('image name', snap.image, destination.image);
    const name = destination.snap;
    if (name === undefined) throw new FarsideError('EINVAL', 'destination snapshot name was not specified');
    const client = await context.client();
    await framed({ text: 'renaming snap failed', errno: true }, () => client.changeSnapshot(snap, snap.snap, { name }));
  },
});
