// Owns the roll-up of a pool's mirroring: rbd's `mirror pool status` JSON, its counts and its three healths (reference §1.2,
// §2.9). Pure. A site stands for Ceph's daemon.
//
// Deliberate addition: an image that two live sites call primary is a warning at once (Ceph says OK until one is demoted).

import { imageStatusStates, saysPrimary } from '../copy-status.ts';
import { heartbeatFreshMsDefault, imageStatusReport, isUp, receivesLocally, sendsTo } from './status-report.ts';
import type { ImageStatusState } from '../copy-status.ts';
import type { ImageStatusInput, ImageStatusReport, SiteView } from './status-report.ts';

/** From best to worst. */
const healths = ['OK', 'UNKNOWN', 'WARNING', 'ERROR'] as const;
export type Health = (typeof healths)[number];

export const worstHealth = (parts: readonly Health[]): Health =>
  healths[Math.max(0, ...parts.map((part) => healths.indexOf(part)))]!;

const healthOfState: Record<ImageStatusState, Health> = {
  unknown: 'WARNING',
  error: 'ERROR',
  syncing: 'WARNING',
  starting_replay: 'WARNING',
  replaying: 'OK',
  stopping_replay: 'WARNING',
  stopped: 'OK',
};

export type Callout = { level: 'warning' | 'error'; text: string };
const healthOfCallout: Record<Callout['level'], Health> = { warning: 'WARNING', error: 'ERROR' };

/** A site that mirrors this pool; `heartbeatAgeMs` undefined: it has never reported. */
export type DaemonInput = {
  serviceId: string;
  instanceId: string;
  clientId: string;
  hostname: string;
  version: string;
  leader: boolean;
  heartbeatAgeMs?: number | undefined;
  callouts?: readonly Callout[] | undefined;
};

export type DaemonReport = {
  service_id: string;
  instance_id: string;
  client_id: string;
  hostname: string;
  ceph_version: string;
  leader: boolean;
  health: Health;
  callouts?: string[];
};

export type PoolStatusInput = {
  images: readonly ImageStatusInput[];
  daemons: readonly DaemonInput[];
  verbose: boolean;
  /** What else an operator should look at: a warning each. */
  callouts?: readonly string[] | undefined;
  heartbeatFreshMs?: number | undefined;
};

export type PoolStatusReport = {
  summary: {
    health: Health;
    daemon_health: Health;
    image_health: Health;
    states: Partial<Record<ImageStatusState, number>>;
  };
  /** Farside's: what an operator should look at, one sentence each; only if any. */
  warnings?: string[];
  daemons?: DaemonReport[];
  images?: Omit<ImageStatusReport, 'snapshots'>[];
};

/** rbd's JSON, in rbd's order of keys. */
export function poolStatusReport(input: PoolStatusInput): PoolStatusReport {
  const { images, daemons, verbose, callouts = [], heartbeatFreshMs } = input;
  const states = images.map((image) => summaryState(image));
  const doubled = images.filter(bothPrimary).map((image) => `image ${image.name} is primary on more than one site`);
  const warnings = [...doubled, ...callouts];
  const daemonReports = daemons.map((daemon) => daemonReport(daemon, heartbeatFreshMs));
  const imageHealth = worstHealth([
    ...states.map((state) => healthOfState[state]),
    ...(doubled.length > 0 ? ['WARNING' as const] : []),
  ]);
  const daemonHealth = worstHealth([
    daemonHealthOf(daemonReports),
    ...(callouts.length > 0 ? ['WARNING' as const] : []),
  ]);
  return {
    summary: {
      health: worstHealth([daemonHealth, imageHealth]),
      daemon_health: daemonHealth,
      image_health: imageHealth,
      states: countStates(states),
    },
    ...(warnings.length > 0 ? { warnings } : {}),
    ...(verbose
      ? { daemons: daemonReports, images: images.map((image) => imageStatusReport({ ...image, snapshots: undefined })) }
      : {}),
  };
}

/**
 * The one state by which an image counts: of the local status if the pool receives, and of each peer that it sends to, the
 * numerically smallest. So a primary (`stopped`) with a replica that replays counts as replaying. Missing or down: unknown.
 */
export function summaryState({ local, peers, heartbeatFreshMs }: ImageStatusInput): ImageStatusState {
  const sites: SiteView[] = [...(receivesLocally(peers) ? [local] : []), ...peers.filter(sendsTo)];
  const numbers = sites.map((site) =>
    isUp(site, heartbeatFreshMs) ? imageStatusStates.indexOf(site.status!.state) : 0,
  );
  return imageStatusStates[Math.min(...numbers)]!;
}

/** Two sites that are up both say that their copy is writable. */
export function bothPrimary({ local, peers, heartbeatFreshMs }: ImageStatusInput): boolean {
  const primaries = [local, ...peers].filter(
    (site) => isUp(site, heartbeatFreshMs) && site.status && saysPrimary(site.status),
  );
  return primaries.length > 1;
}

function countStates(states: readonly ImageStatusState[]): Partial<Record<ImageStatusState, number>> {
  const counts = imageStatusStates.map((state) => [state, states.filter((other) => other === state).length] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

function daemonReport(daemon: DaemonInput, freshMs: number = heartbeatFreshMsDefault): DaemonReport {
  const silent = daemon.heartbeatAgeMs === undefined || daemon.heartbeatAgeMs > freshMs;
  const callouts: Callout[] = [
    ...(silent ? [{ level: 'warning' as const, text: 'not reporting status' }] : []),
    ...(daemon.callouts ?? []),
  ];
  return {
    service_id: daemon.serviceId,
    instance_id: daemon.instanceId,
    client_id: daemon.clientId,
    hostname: daemon.hostname,
    ceph_version: daemon.version,
    leader: daemon.leader,
    health: worstHealth(callouts.map(({ level }) => healthOfCallout[level])),
    ...(callouts.length > 0 ? { callouts: callouts.map(({ text }) => text) } : {}),
  };
}

function daemonHealthOf(daemons: readonly DaemonReport[]): Health {
  if (daemons.length === 0) return 'UNKNOWN';
  return worstHealth([
    ...daemons.map(({ health }) => health),
    ...(daemons.some(({ leader }) => leader) ? [] : ['WARNING' as const]),
  ]);
}
