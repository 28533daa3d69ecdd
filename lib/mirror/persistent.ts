// Owns patience with a peer: a connection that breaks at once (a kept-alive socket that the other end has just closed, a server
// that restarts) is tried again a few times before it counts as unreachable. What takes long to fail is not repeated.

import { FarsideError } from '../errors.ts';
import type { MirrorDeps } from './deps.ts';
import type { Peer } from './peer-protocol.ts';

/** Pauses before the second, third … attempt, ms. */
const pausesMs = [100, 500, 2000];

type Deps = Pick<MirrorDeps, 'clock'>;

/** The same peer; calls that may be repeated are. */
export function persistent(deps: Deps, peer: Peer): Peer {
  return {
    image: (globalId) => again(deps, () => peer.image(globalId)),
    catalog: () => again(deps, () => peer.catalog()),
    feed: (from) => again(deps, () => peer.feed(from)),
    delta: (globalId, request) => again(deps, () => peer.delta(globalId, request)),
    pack: (imageId, packId, options) => again(deps, () => peer.pack(imageId, packId, options)),
    ...(peer.packEntries && {
      packEntries: (imageId, packId, wanted) => again(deps, () => peer.packEntries!(imageId, packId, wanted)),
    }),
    segment: (imageId, epoch, seq) => again(deps, () => peer.segment(imageId, epoch, seq)),
    requestPoint: (globalId) => again(deps, () => peer.requestPoint(globalId)),
    ack: (globalId, ack) => again(deps, () => peer.ack(globalId, ack)),
    wake: (globalIds) => peer.wake(globalIds),
    heartbeat: (heartbeat) => peer.heartbeat(heartbeat),
    register: (request) => peer.register(request),
    unregister: (only) => peer.unregister(only),
  };
}

async function again<T>({ clock }: Deps, call: () => Promise<T>): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await call();
    } catch (error) {
      if (!isBroken(error)) throw error;
      await clock.sleep(pauseMs);
    }
  }
  return call();
}

/** ETIMEDOUT has taken its time already. */
const isBroken = (error: unknown): boolean =>
  error instanceof FarsideError &&
  error.retry !== 'never' &&
  (error.code === 'ECONNREFUSED' || error.code === 'EHOSTUNREACH');
