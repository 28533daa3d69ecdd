// Owns which replicas of a journal are disconnected: at the primary, by our records of the peers. Pure. A replica that is gets
// nothing more, and says so, until it is resynced; so rbd frees a journal from a client that lags for good. Here nothing has to be
// freed: it is for scripts that know the state, and for who wants to be told of such a replica.

import type { Header } from '../../image/header.ts';

export function withDisconnected(header: Header, uuids: readonly string[]): Header | undefined {
  const { mirror } = header;
  const before = mirror?.disconnected ?? [];
  const disconnected = [...new Set([...before, ...uuids])];
  return mirror && disconnected.length > before.length ? { ...header, mirror: { ...mirror, disconnected } } : undefined;
}

/** The peer begins to copy anew. */
export function withoutDisconnected(header: Header, uuid: string): Header {
  if (!header.mirror?.disconnected?.includes(uuid)) return header;
  const { disconnected, ...mirror } = header.mirror;
  const left = disconnected.filter((one) => one !== uuid);
  return { ...header, mirror: left.length > 0 ? { ...mirror, disconnected: left } : mirror };
}
