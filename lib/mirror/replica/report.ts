// Owns what the replica tells its primary after a sync: the acknowledgement and its status. The same text is not sent twice by
// one process. An acknowledgement that cannot be delivered is noted as pending, so that the next poll looks at the image
// again and repeats it; until then the primary keeps one snapshot more than it must.

import { addPending } from '../peers/announce.ts';
import { statusesBeyond } from '../primary/beyond.ts';
import type { MirrorDeps } from '../deps.ts';
import type { Connection } from '../peers/peer-state.ts';
import type { Ack } from '../peer-protocol.ts';
import { forget, recall, remember } from '../recent.ts';
import type { StatusText } from '../copy-status.ts';

const descriptionMax = 4096;

export async function report(
  deps: MirrorDeps,
  connection: Connection,
  globalId: string,
  status: StatusText,
  synced?: Ack['synced'],
): Promise<void> {
  const { pool, record, peer } = connection;
  const key = `reported ${pool.name}/${record.uuid}/${globalId}`;
  const beyond = await statusesBeyond(deps, connection, globalId, status).catch(() => []);
  const text = JSON.stringify([status.state, status.description, beyond]);
  if (!synced && recall(deps, key) === text) return;
  const description = status.description.slice(0, descriptionMax);
  try {
    await peer.ack(globalId, {
      status: {
        state: status.state,
        description,
        updatedAtMs: deps.clock.nowMs(),
        ...(status.position && { position: status.position }),
        ...(status.point && { point: status.point }),
        ...(beyond.length > 0 && { beyond }),
      },
      ...(synced ? { synced } : {}),
    });
    remember(deps, key, text);
  } catch {
    forget(deps, key);
    await addPending(deps, pool.name, record.uuid, globalId);
  }
}
