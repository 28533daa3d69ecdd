// Owns what a site does when the writer of an image in use says that its journal went on: it wakes the replicas. A writer says so
// at most once a second while it writes, so that a replica is a second or two behind; now and then with a record in the feed, so
// that a replica finds it by itself when wake-ups are lost (I4).

import { openHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { announce } from '../peers/announce.ts';
import type { MirrorDeps } from '../deps.ts';
import { disconnectLaggards } from './disconnect.ts';
import { recentPool } from '../pool.ts';
import { recent } from '../recent.ts';

/** Nothing happens for an image that is not mirrored by its journal. `record`: see above. */
export async function advanceJournal(
  deps: MirrorDeps,
  spec: ImageSpec,
  { record, ...position }: { epoch: string; seq: number; record: boolean },
): Promise<void> {
  const globalId = await globalIdOf(deps, spec);
  if (globalId === '') return;
  if (record) await disconnectLaggards(deps, spec, position);
  await announce(deps, await recentPool(deps, spec.pool), { globalId }, { record });
}

/** Empty: there is nobody to be told. A few seconds old at most. */
const globalIdOf = (deps: MirrorDeps, spec: ImageSpec): Promise<string> =>
  recent(
    deps,
    `journal of ${spec.pool}/${spec.namespace}/${spec.byId === true ? 'id ' : ''}${spec.image}`,
    async () => {
      const { mirror } = (await openHeader(deps, spec)).value;
      return mirror?.mode === 'journal' ? mirror.globalId : '';
    },
  );
