// `snap rm`: deletes a snapshot, by name or by id.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { Client } from '../client.ts';
import { defineCommand } from '../command.ts';
import { requireSnap, type SnapSpec } from '../grammar.ts';
import { imageOrSnapArgument, integerOption, insteadOfSpec } from '../parameters.ts';
import { framed } from '../wording.ts';

const idRange = { min: 0, max: Number.MAX_SAFE_INTEGER };

export const snapRemove = defineCommand({
  path: 'snap remove',
  aliases: ['rm'],
  summary: 'delete a snapshot',
  arguments: { snap: imageOrSnapArgument },
  options: {
    ...insteadOfSpec,
    snapId: integerOption('--snap-id <id>', 'id of the snapshot, instead of its name', idRange),
  },
  examples: ['farside snap rm vm-1@before-upgrade', 'farside snap rm vm-1 --snap-id 7'],
  async run({ args: { snap: spec }, options: { snapId }, context }) {
    if (snapId !== undefined) checkById(spec, context.general.progress);
    const client = await context.client();
    const frame = { text: 'failed to remove snapshot', errno: true };
    const snap = snapId === undefined ? requireSnap(spec) : await framed(frame, () => findById(client, spec, snapId));
    const instead = {
      EBUSY: `snapshot '${snap.snap}' is protected from removal.\nunprotect it with 'farside snap unprotect' first`,
    };
    await framed({ ...frame, instead }, () => client.removeSnapshot(snap, snap.snap));
  },
});

function checkById(spec: ImageSpec, progress: boolean): void {
  if (spec.snap !== undefined) throw new FarsideError('EINVAL', 'trying to access snapshot using both name and id.');
  if (!progress) throw new FarsideError('EINVAL', 'force and no-progress options not permitted when removing by id.');
}

async function findById(client: Client, spec: ImageSpec, id: number): Promise<SnapSpec> {
  const found = (await client.listSnapshots(spec, { all: true })).find((one) => one.id === id);
  if (found === undefined) throw new FarsideError('ENOENT', `image ${spec.image} has no snapshot with id ${id}`);
  if ((found.namespace?.type ?? 'user') === 'user') return { ...spec, snap: found.name };
  throw new FarsideError(
    'EINVAL',
    `snapshot ${id} of image ${spec.image} is mirroring's own: mirroring removes it by itself`,
  );
}
