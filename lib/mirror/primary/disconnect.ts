// Owns how replicas of a journal become disconnected: by `journal client disconnect`, or by lag.

import { openHeader, updateHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { JournalPosition } from '../../image/header.ts';
import { FarsideError } from '../../errors.ts';
import { optionOf } from '../../image/options.ts';
import { statusFrom } from './acknowledge.ts';
import { announce } from '../peers/announce.ts';
import { recentLevels } from '../config.ts';
import type { MirrorDeps } from '../deps.ts';
import { withDisconnected } from './disconnected.ts';
import { openJournaled } from './journal-report.ts';
import { mirrorOf, readPool, recentPool, sends } from '../pool.ts';
import { placeOf, placeOfStatus, type Place } from '../place.ts';

/**
 * Replicas that are not waited for and not given anything until they are resynced: all, or the one with that mirror uuid. Gives the
 * ids that are disconnected now. ENOENT: there is none.
 */
export async function disconnectClients(deps: MirrorDeps, spec: ImageSpec, clientId?: string): Promise<string[]> {
  const stored = await openJournaled(deps, spec);
  const pool = (await readPool(deps, spec.pool)).value;
  const peers = stored.value.mirror?.mode === 'journal' ? pool.peers.filter(sends) : [];
  const chosen = peers.filter(({ mirrorUuid }) => clientId === undefined || mirrorUuid === clientId);
  if (chosen.length === 0) {
    const why = clientId === undefined ? 'no registered clients to disconnect' : `client ${clientId} is not registered`;
    throw new FarsideError('ENOENT', why);
  }
  await updateHeader(
    deps,
    stored,
    (header) =>
      withDisconnected(
        header,
        chosen.map(({ uuid }) => uuid),
      ),
    { byMirroring: true },
  );
  await announce(deps, pool, { globalId: stored.value.mirror!.globalId });
  return chosen.map(({ mirrorUuid }) => mirrorUuid);
}

/** `rbd_journal_max_concurrent_object_sets`: replicas that are more segments, or changes of the map, behind than that. */
export async function disconnectLaggards(
  deps: MirrorDeps,
  spec: ImageSpec,
  end: Pick<JournalPosition, 'epoch' | 'seq'>,
): Promise<void> {
  const stored = await openHeader(deps, spec);
  const { mirror, meta, pool: name, namespace } = stored.value;
  const setsMax = optionOf('rbd_journal_max_concurrent_object_sets', await recentLevels(deps, name, meta));
  if (setsMax === 0 || mirror?.mode !== 'journal') return;
  const pool = await recentPool(deps, name);
  const here = placeOf(stored.value);
  const ownUuid = mirrorOf(pool, namespace)?.mirrorUuid;
  const behind: string[] = [];
  for (const { uuid } of pool.peers.filter(sends)) {
    const there = placeOfStatus((await statusFrom(deps, name, mirror.globalId, uuid)) ?? {});
    const isOurs = there?.mirrorUuid === undefined || there.mirrorUuid === ownUuid;
    if (here && there && isOurs && setsBehind(here, there, end) > setsMax) behind.push(uuid);
  }
  if (behind.length > 0)
    await updateHeader(deps, stored, (header) => withDisconnected(header, behind), { byMirroring: true });
}

/** Where nobody has the image attached, its points are counted. A replica that is in an epoch then has an unknown number before it. */
function setsBehind(here: Place, there: Place, { epoch, seq }: Pick<JournalPosition, 'epoch' | 'seq'>): number {
  if (here.epoch !== undefined) return seq - (there.epoch === epoch ? there.seq : 0);
  return there.epoch === undefined ? here.entry - there.entry : 0;
}
