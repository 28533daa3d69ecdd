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
import { readPool, recentPool, sends } from '../pool.ts';

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

/** `rbd_journal_max_concurrent_object_sets`: replicas that are more segments behind than that. */
export async function disconnectLaggards(
  deps: MirrorDeps,
  spec: ImageSpec,
  { epoch, seq }: Pick<JournalPosition, 'epoch' | 'seq'>,
): Promise<void> {
  const stored = await openHeader(deps, spec);
  const { mirror, meta, pool: name } = stored.value;
  const setsMax = optionOf('rbd_journal_max_concurrent_object_sets', await recentLevels(deps, name, meta));
  if (setsMax === 0 || mirror?.mode !== 'journal') return;
  const pool = await recentPool(deps, name);
  const behind: string[] = [];
  for (const { uuid } of pool.peers.filter(sends)) {
    const position = (await statusFrom(deps, name, mirror.globalId, uuid))?.position;
    if (position && seq - (position.epoch === epoch ? position.seq : 0) > setsMax) behind.push(uuid);
  }
  if (behind.length > 0)
    await updateHeader(deps, stored, (header) => withDisconnected(header, behind), { byMirroring: true });
}
