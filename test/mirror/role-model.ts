// A model of sites that mirror one image, for the tests of roles. It carries out what the pure functions decide, and beside
// it keeps the truth that they cannot see: for every head and snapshot, the list of everything that ever happened to it
// (writes, snapshots, promotions, demotions). The rules checked are stated over this truth alone.

import type { MirrorSnapshot } from '../../lib/image/header.ts';
import type { Claim } from '../../lib/mirror/roles/retention.ts';
import { pointOf } from '../../lib/mirror/roles/history.ts';
import type { Point } from '../../lib/mirror/roles/history.ts';
import {
  claimTarget,
  copiesToUnlink,
  losesHead,
  snapshotsLostByResync,
  snapshotsToPrune,
  snapshotsToUnlink,
  unlinkPeer,
  withPeerSets,
} from '../../lib/mirror/roles/retention.ts';
import {
  canDemote,
  canPromote,
  canResync,
  demoteSnapshot,
  primarySnapshot,
  promoteSnapshots,
  syncedSnapshot,
} from '../../lib/mirror/roles/role-changes.ts';
import type { MirrorRecord, RoleChange } from '../../lib/mirror/roles/role-changes.ts';
import { decideSync, promotionState } from '../../lib/mirror/roles/roles.ts';
import type { Decision } from '../../lib/mirror/roles/roles.ts';

/** Everything that happened, in order. Writes are `w…`. */
export type Line = readonly string[];
type Running = {
  from: number;
  targetSnapId: number;
  point: Point;
  demoted: boolean;
  resync: boolean;
  line: Line;
  root: string;
};
export type ModelSite = {
  image: boolean;
  snapshots: readonly MirrorSnapshot[];
  lines: Readonly<Record<number, Line>>;
  head: Line;
  nextId: number;
  events: number;
  resync: boolean;
  running?: Running | undefined;
  /** Heads kept as ordinary snapshots by resyncs. */
  kept: readonly Line[];
};
export type World = {
  sites: readonly ModelSite[];
  forced: boolean;
  fault?: Fault | undefined;
  breach?: string | undefined;
  sent?: readonly Sent[];
  /** Each site pulls from its neighbours only; absent: from any. */
  chain?: boolean;
};
/** A claim or an acknowledgement that was sent once, and may arrive again at any time. World.sent absent: not recorded. */
type Sent = { to: number; peerUuid: string } & ({ ack: number } | { claim: Claim });

/** Planted bugs, to show that the rules catch them. */
export const faults = [
  'no claim',
  'a demotion is not kept for its site',
  'the cap takes the oldest',
  'split-brain is overwritten',
  'resync keeps no head',
  'resync keeps the old line',
] as const;
export type Fault = (typeof faults)[number];

export const actions = [
  'write',
  'snapshot',
  'demote',
  'promote',
  'force',
  'resync',
  'begin',
  'finish',
  'finish, ack lost',
] as const;
export type Action = (typeof actions)[number];
/** `other`: whom `begin` pulls from. */
export type Step = { action: Action; site: number; other: number } | { action: 'redeliver'; index: number };

export const snapshotsMax = 3;
export const mirrorUuid = (site: number): string => `mirror-${site}`;
/** Every site lists a peer under a uuid of its own. */
export const peerUuid = (at: number, peer: number): string => `peer-${peer}-at-${at}`;
export const writesOf = (line: Line): Line => line.filter((event) => event.startsWith('w'));
export const isPrefix = (a: Line, b: Line): boolean => a.every((event, index) => b[index] === event);
export const stateOf = (site: ModelSite): ReturnType<typeof promotionState> => promotionState(site.snapshots);
export const isPrimary = (site: ModelSite): boolean => site.image && stateOf(site) === 'primary';

const nowhere: ModelSite = {
  image: false,
  snapshots: [],
  lines: {},
  head: [],
  nextId: 1,
  events: 0,
  resync: false,
  kept: [],
};

/** Site 0 is primary with one mirror snapshot; the others have no image yet. */
export function newWorld(siteCount: number, fault?: Fault): World {
  const world: World = { sites: Array.from({ length: siteCount }, () => nowhere), forced: false, fault };
  const site = written({ ...nowhere, image: true }, 0);
  return put(world, 0, appended(site, 0, primarySnapshot([], peersOf(world, 0))));
}

const peersOf = (world: World, at: number): string[] =>
  world.sites.flatMap((_, peer) => (peer === at ? [] : [peerUuid(at, peer)]));

const put = (world: World, at: number, site: ModelSite): World => ({ ...world, sites: world.sites.with(at, site) });

const event = (site: ModelSite, at: number, kind: string): ModelSite => ({
  ...site,
  head: [...site.head, `${kind}${at}.${site.events}`],
  events: site.events + 1,
});

const written = (site: ModelSite, at: number): ModelSite => event(site, at, 'w');

/** Applies a role change in one go, as one compare-and-swap of a header does. */
function appended(site: ModelSite, at: number, change: RoleChange): ModelSite {
  let next: ModelSite = { ...site, snapshots: withPeerSets(site.snapshots, change.peerSets) as MirrorSnapshot[] };
  for (const record of change.append) next = withRecord(event(next, at, record.state[0]!), record);
  return prune(next);
}

function withRecord(site: ModelSite, record: MirrorRecord): ModelSite {
  const snapshot = mirrorSnapshot({ id: site.nextId, hash: writesOf(site.head).join(), ...record });
  return {
    ...site,
    snapshots: [...site.snapshots, snapshot],
    lines: { ...site.lines, [site.nextId]: site.head },
    nextId: site.nextId + 1,
  };
}

function prune(site: ModelSite): ModelSite {
  const gone = new Set(snapshotsToPrune(site.snapshots));
  const snapshots = site.snapshots.filter((s) => !gone.has(s.id));
  return { ...site, snapshots, lines: Object.fromEntries(snapshots.map((s) => [s.id, site.lines[s.id]!])) };
}

const withSets = (site: ModelSite, sets: Parameters<typeof withPeerSets>[1]): ModelSite =>
  prune({ ...site, snapshots: withPeerSets(site.snapshots, sets) as MirrorSnapshot[] });

export type SnapshotFields = Partial<Omit<MirrorRecord, 'complete'>> & {
  id: number;
  hash?: string;
  complete?: boolean;
};

/** A mirror snapshot with only what decisions look at. */
export function mirrorSnapshot({ id, hash = `content ${id}`, ...record }: SnapshotFields): MirrorSnapshot {
  return {
    id,
    name: `s${id}`,
    root: { pack: '', entry: 0, entryCount: 0, packBytes: 0, level: 0, hash, usedBytes: 0 },
    sizeBytes: 0,
    createdAtMs: id,
    protected: false,
    namespace: {
      type: 'mirror',
      state: 'primary',
      complete: true,
      mirrorPeerUuids: [],
      ...record,
      image: { name: 'i', sizeBytes: 0, features: [], meta: {}, snapshots: [] },
    },
  };
}

/** What `site` would do about `other` now. */
export function decisionOf(world: World, at: number, from: number): Decision {
  const [site, other] = [world.sites[at]!, world.sites[from]!];
  const sync = site.running && {
    primaryMirrorUuid: mirrorUuid(site.running.from),
    targetSnapId: site.running.targetSnapId,
    resync: site.running.resync,
  };
  const { snapshots } = site;
  return decideSync({
    local: {
      mirrorUuid: mirrorUuid(at),
      peerUuid: peerUuid(from, at),
      nameTaken: false,
      image: site.image
        ? { state: snapshots.length === 0 ? 'creating' : 'enabled', snapshots, resyncRequested: site.resync, sync }
        : undefined,
    },
    remote:
      other.image && other.snapshots.length > 0
        ? { kind: 'present', mirrorUuid: mirrorUuid(from), state: 'enabled', snapshots: other.snapshots }
        : { kind: 'absent' },
  });
}

/** The world after a step; the same object when the step is refused or changes nothing. */
export function act(world: World, step: Step): World {
  if (step.action === 'redeliver') return redeliver(world, step.index);
  const { action, site: at, other } = step;
  const site = world.sites[at]!;
  if (action === 'begin') return begin(world, at, other);
  if (!site.image) return world;
  const state = stateOf(site);
  const peers = peersOf(world, at);
  const role = ({ append, peerSets }: RoleChange): World => {
    const change = { append, peerSets: world.fault === 'a demotion is not kept for its site' ? [] : peerSets };
    return put(world, at, { ...appended(site, at, change), running: undefined });
  };
  switch (action) {
    case 'write':
      return state !== 'primary' || site.head.at(-1)?.startsWith('w') ? world : put(world, at, written(site, at));
    case 'snapshot':
      return state !== 'primary' ? world : put(world, at, taken(world, at));
    case 'demote':
      return canDemote(state) ? world : role(demoteSnapshot(site.snapshots, peers));
    case 'promote': {
      const remotePrimary = world.sites.some((s, index) => index !== at && isPrimary(s));
      return canPromote(state, { force: false, remotePrimary })
        ? world
        : role(promoteSnapshots(site.snapshots, peers, { force: false }));
    }
    case 'force':
      return canPromote(state, { force: true })
        ? world
        : { ...role(promoteSnapshots(site.snapshots, peers, { force: true })), forced: true };
    case 'resync':
      return canResync(state) || site.resync || site.snapshots.length === 0
        ? world
        : put(world, at, { ...site, resync: true });
    case 'finish':
    case 'finish, ack lost':
      return finish(world, at, action === 'finish');
  }
}

function taken(world: World, at: number): ModelSite {
  const [site, peers] = [world.sites[at]!, peersOf(world, at)];
  const sets = snapshotsToUnlink(site.snapshots, peers, snapshotsMax);
  const wrong = sets.map((set) => ({
    ...set,
    snapId: site.snapshots.find((s) => s.namespace.mirrorPeerUuids.length > 0)!.id,
  }));
  const unlinked = withSets(site, world.fault === 'the cap takes the oldest' ? wrong : sets);
  return appended(unlinked, at, primarySnapshot(unlinked.snapshots, peers));
}

const recorded = (world: World, sent: Sent): World => (world.sent ? { ...world, sent: [...world.sent, sent] } : world);

function redeliver(world: World, index: number): World {
  const sent = world.sent?.[index % Math.max(1, world.sent.length)];
  if (!sent) return world;
  const site = world.sites[sent.to]!;
  const sets =
    'ack' in sent
      ? unlinkPeer(site.snapshots, sent.peerUuid, sent.ack)
      : (claimTarget(site.snapshots, sent.peerUuid, sent.claim) ?? []);
  return put(world, sent.to, withSets(site, sets));
}

/** Decide, claim the target at the remote, and note the sync; or send a lost acknowledgement again. */
function begin(world: World, at: number, from: number): World {
  const remote = world.sites[from]!;
  const decided = decisionOf(world, at, from);
  const decision =
    world.fault === 'split-brain is overwritten' &&
    decided.kind === 'stop' &&
    decided.reason === 'split-brain' &&
    isPrimary(remote)
      ? overwriting(remote)
      : decided;
  if (decision.kind !== 'sync') {
    const again = 'acknowledge' in decision ? decision.acknowledge : undefined;
    return again === undefined
      ? world
      : put(world, from, withSets(remote, unlinkPeer(remote.snapshots, peerUuid(from, at), again)));
  }
  if (decision.continues) return world;
  // Where a site receives from several, a copy from one of them is finished before another begins (sync.ts).
  if (remote !== world.sites[world.sites[at]!.running?.from ?? from]) return world;
  const sets = world.fault === 'no claim' ? [] : claimTarget(remote.snapshots, peerUuid(from, at), decision);
  if (!sets) return { ...world, breach: 'the target of a decision was not there to claim' };
  const claimed = put(
    recorded(world, { to: from, peerUuid: peerUuid(from, at), claim: decision }),
    from,
    withSets(remote, sets),
  );
  const { targetSnapId, demoted, resync } = decision;
  const line = remote.lines[targetSnapId]!;
  const point = pointOf(
    remote.snapshots.find(({ id }) => id === targetSnapId)!,
    mirrorUuid(from),
  )!;
  const running: Running = { from, targetSnapId, point, demoted, resync, line, root: writesOf(line).join() };
  return put(claimed, at, { ...claimed.sites[at]!, image: true, running });
}

const overwriting = (remote: ModelSite): Decision => ({
  kind: 'sync',
  create: false,
  targetSnapId: remote.snapshots.at(-1)!.id,
  demoted: false,
  resync: false,
  continues: false,
});

/** Everything was copied: move the header in one go, then acknowledge. */
function finish(world: World, at: number, acknowledged: boolean): World {
  const site = world.sites[at]!;
  const { running } = site;
  if (!running || isPrimary(site)) return world;
  const remote = world.sites[running.from]!;
  const here = { mirrorUuid: mirrorUuid(at), snapshots: site.snapshots };
  const there = { mirrorUuid: mirrorUuid(running.from), snapshots: remote.snapshots };
  const lost = new Set(
    running.resync && world.fault !== 'resync keeps the old line'
      ? snapshotsLostByResync(here, there, running.targetSnapId)
      : [],
  );
  const keeps =
    running.resync && world.fault !== 'resync keeps no head' && losesHead(here, there, running.targetSnapId);
  const base: ModelSite = {
    ...site,
    snapshots: site.snapshots.filter((s) => !lost.has(s.id)),
    head: running.line,
    running: undefined,
    resync: site.resync && !running.resync,
    kept: keeps ? [...site.kept, site.head] : site.kept,
  };
  const keepsDemotion = running.demoted && world.fault !== 'a demotion is not kept for its site';
  const fed = peersOf(world, at).filter((uuid) => keepsDemotion || uuid !== peerUuid(at, running.from));
  const record = syncedSnapshot(running.point, running.demoted, fed);
  const capped = withSets(base, copiesToUnlink(base.snapshots, fed, snapshotsMax));
  const copied = withRecord(capped, record);
  const moved = put(world, at, withSets(copied, unlinkPeer(copied.snapshots, peerUuid(at, running.from), base.nextId)));
  const checked = { ...moved, breach: breachOfSync(site, moved.sites[at]!, running.resync) };
  const told = recorded(checked, { to: running.from, peerUuid: peerUuid(running.from, at), ack: running.targetSnapId });
  if (!acknowledged) return told;
  return put(
    told,
    running.from,
    withSets(remote, unlinkPeer(remote.snapshots, peerUuid(running.from, at), running.targetSnapId)),
  );
}

/** I9, over the truth: without resync nothing that happened here is lost; with it, what is lost from the head is kept beside. */
function breachOfSync(before: ModelSite, after: ModelSite, resync: boolean): string | undefined {
  if (isPrefix(before.head, after.head)) return undefined;
  if (!resync) return `a sync overwrote ${before.head.join(' ')} with ${after.head.join(' ')}`;
  return after.kept.includes(before.head) ? undefined : `a resync threw ${before.head.join(' ')} away`;
}
