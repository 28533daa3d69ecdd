// `snap rm`: deletes a snapshot, by name or by id; with --force after its clones are made independent and it is unprotected.

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { Client } from '../client/client.ts';
import { defineCommand } from '../command.ts';
import { requireSnap, type SnapSpec } from '../parse/grammar.ts';
import { imageOrSnapArgument, integerOption, insteadOfSpec, switchOption } from '../parse/parameters.ts';
import { untilDone } from '../client/until-done.ts';
import { framed } from '../output/wording.ts';

const idRange = { min: 0, max: Number.MAX_SAFE_INTEGER };

export const snapRemove = defineCommand({
  path: 'snap remove',
  aliases: ['rm'],
  summary: 'delete a snapshot',
  arguments: { snap: imageOrSnapArgument },
  options: {
    ...insteadOfSpec,
    snapId: integerOption('--snap-id <id>', 'id of the snapshot, instead of its name', idRange),
    force: switchOption('--force', 'flatten children and unprotect snapshot if needed'),
  },
  examples: [
    'farside snap rm vm-1@before-upgrade',
    'farside snap rm vm-1 --snap-id 7',
    'farside snap rm --force vm-1@golden',
  ],
  async run({ args: { snap: spec }, options: { snapId, force }, context }) {
    if (snapId !== undefined) checkById(spec, force || !context.general.progress);
    const client = await context.client();
    const frame = { text: 'failed to remove snapshot', errno: true };
    const snap = snapId === undefined ? requireSnap(spec) : await framed(frame, () => findById(client, spec, snapId));
    const instead = {
      EBUSY: `snapshot '${snap.snap}' is protected from removal.\nunprotect it with 'farside snap unprotect' first`,
    };
    if (force) await framed(frame, () => setFree(client, snap));
    await framed({ ...frame, instead }, () => client.removeSnapshot(snap, snap.snap));
  },
});

/** Each step is whole by itself: what was done of an interrupted one stays done, and the same command goes on. */
async function setFree(client: Client, spec: SnapSpec): Promise<void> {
  const children = await client.clones.children(spec, { snap: spec.snap, snapId: undefined, descendants: false });
  for (const { pool, pool_namespace: namespace, image, id, trash } of children) {
    const child = trash ? { pool, namespace, image: id, byId: true } : { pool, namespace, image };
    await untilDone({ update: () => {} }, () => client.clones.flatten(child));
  }
  const found = (await client.listSnapshots(spec, { all: false })).find(({ name }) => name === spec.snap);
  if (found?.protected === 'true') await client.changeSnapshot(spec, spec.snap, { protected: false });
}

function checkById(spec: ImageSpec, isMore: boolean): void {
  if (spec.snap !== undefined) throw new FarsideError('EINVAL', 'trying to access snapshot using both name and id.');
  if (isMore) throw new FarsideError('EINVAL', 'force and no-progress options not permitted when removing by id.');
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
