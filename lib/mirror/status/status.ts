// Owns the gathering of what the status reports need (status-report.ts, health.ts): headers, what peers said, heartbeats. The
// status of our own copy is read off its header; nothing is stored for it.
//
// Requests: about six for an image, and two more while it is being copied, whatever its size.

import pLimit from 'p-limit';
import { z } from 'zod';

import { readDocument } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { openHeader, readHeader } from '../../image/access.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { mirrorSnapshots } from '../../image/header.ts';
import type { Header, Mirror, Sync } from '../../image/header.ts';
import { ownStatus, statusFrom } from '../primary/acknowledge.ts';
import { eachOnce } from '../primary/beyond.ts';
import { readCatalog } from '../peers/catalog.ts';
import { listCheckpoints, readCheckpoint } from '../replica/checkpoints.ts';
import type { MirrorDeps } from '../deps.ts';
import { listFailures } from '../failures.ts';
import { poolStatusReport } from './health.ts';
import type { Callout, PoolStatusReport } from './health.ts';
import { readPeerState } from '../peers/peer-state.ts';
import type { PeerState, Trouble } from '../peers/peer-state.ts';
import type { StatusBeyond } from '../peer-protocol.ts';
import { mirroringPool } from '../namespace.ts';
import { receives } from '../pool.ts';
import type { PeerRecord, Pool } from '../pool.ts';
import { mirroringNotEnabled } from '../roles/role-changes.ts';
import { promotionState, stopStatus } from '../roles/roles.ts';
import { journalOf, primaryStatus, replayingStatus } from '../copy-status.ts';
import { imageStatusReport } from './status-report.ts';
import type { ReplayProgress, StatusText, StoredStatus } from '../copy-status.ts';
import type { ImageStatusInput, ImageStatusReport, PeerSite, SiteService } from './status-report.ts';

/** `mirror image status`. EINVAL: not mirrored. A replica that is still being made has a status too. */
export async function imageStatus(deps: MirrorDeps, spec: ImageSpec): Promise<ImageStatusReport> {
  const { value: header } = await openHeader(deps, spec);
  if (!header.mirror) throw new FarsideError(mirroringNotEnabled.code, mirroringNotEnabled.message);
  const pool = await mirroringPool(deps, spec.pool, spec.namespace);
  const input = await statusInput(deps, header, await contextOf(deps, pool));
  const showsSnapshots = header.mirror.mode === 'snapshot' && promotionState(mirrorSnapshots(header)) === 'primary';
  return imageStatusReport(showsSnapshots ? { ...input, snapshots: mirrorSnapshots(header) } : input);
}

const headersMax = 16;

/** `mirror pool status` of a pool's default namespace or another. EINVAL: it is not mirrored. */
export async function poolStatus(
  deps: MirrorDeps,
  pool: string,
  { verbose = false, namespace = '' }: { verbose?: boolean; namespace?: string } = {},
): Promise<PoolStatusReport> {
  const context = await contextOf(deps, await mirroringPool(deps, pool, namespace));
  const limit = pLimit(headersMax);
  const entries = Object.entries(await readCatalog(deps, pool)).filter(([, entry]) => entry.namespace === namespace);
  const inputs = await Promise.all(
    entries.map(([globalId, { imageId }]) => limit(() => inputOf(deps, globalId, imageId, context))),
  );
  const images = inputs.filter((input) => input !== undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const { serviceId, instanceId, hostname } = context.service;
  const heartbeatAgeMs = context.heartbeatAgeMs;
  const daemon = {
    serviceId,
    instanceId,
    clientId: deps.site.name,
    hostname,
    version: deps.site.version ?? 'farside',
    leader: true,
    heartbeatAgeMs,
    callouts: context.peers.flatMap(({ trouble }) => (trouble ? [calloutOf[trouble]] : [])),
  };
  const daemons = heartbeatAgeMs === undefined ? [] : [daemon];
  return poolStatusReport({ images, daemons, verbose, callouts: await givenUp(deps, pool) });
}

/** rbd-mirror's words at rbd-mirror's levels: what passes by itself is a warning, what somebody has to mend is an error. */
const calloutOf: Record<Trouble, Callout> = {
  unreachable: { level: 'warning', text: 'unable to access remote pool' },
  refused: { level: 'error', text: 'unable to connect to remote cluster' },
};

async function givenUp(deps: MirrorDeps, pool: string): Promise<string[]> {
  const count = (await listFailures(deps)).filter((failure) => failure.pool === pool).length;
  return count === 0 ? [] : [`messages given up: ${count} ('farside queue ls' shows them)`];
}

async function inputOf(
  deps: MirrorDeps,
  globalId: string,
  imageId: string,
  context: Context,
): Promise<ImageStatusInput | undefined> {
  const stored = await readHeader(deps, imageId);
  return stored?.value.mirror?.globalId === globalId ? statusInput(deps, stored.value, context) : undefined;
}

type PeerContext = {
  record: PeerRecord;
  heartbeatAgeMs: number | undefined;
  trouble: Trouble | undefined;
  /** When sites behind it were heard of. */
  seen: PeerState['beyond'];
};
type Context = {
  pool: Pool;
  service: SiteService;
  tickedAtMs: number | undefined;
  heartbeatAgeMs: number | undefined;
  peers: PeerContext[];
};

/** When the site last ticked (lib/site writes it): what is called alive here, and where the next tick's slots begin. */
export const heartbeatSchema = z.object({ tickedAtMs: z.number() });

async function contextOf(deps: MirrorDeps, pool: Pool): Promise<Context> {
  const nowMs = deps.clock.nowMs();
  const tickedAtMs = (await readDocument(deps.bucket, keyText({ kind: 'heartbeat' }), heartbeatSchema))?.value
    .tickedAtMs;
  const { siteId, name, url } = deps.site;
  const service = { serviceId: siteId, instanceId: siteId, daemonId: name, hostname: URL.parse(url)?.hostname ?? name };
  const peers = await Promise.all(
    pool.peers.filter(({ awaited }) => awaited !== true).map((record) => peerContext(deps, pool, record)),
  );
  return {
    pool,
    service,
    tickedAtMs,
    heartbeatAgeMs: tickedAtMs === undefined ? undefined : nowMs - tickedAtMs,
    peers,
  };
}

async function peerContext(deps: MirrorDeps, pool: Pool, record: PeerRecord): Promise<PeerContext> {
  const { seenAtMs, trouble, beyond } = await readPeerState(deps, pool.name, record.uuid);
  const heartbeatAgeMs = seenAtMs === 0 ? undefined : deps.clock.nowMs() - seenAtMs;
  return { record, heartbeatAgeMs, trouble: receives(record) ? trouble : undefined, seen: beyond };
}

async function statusInput(deps: MirrorDeps, header: Header, context: Context): Promise<ImageStatusInput> {
  const { tickedAtMs } = context;
  // A site that has never ticked mirrors nothing yet: as a cluster whose rbd-mirror was never started.
  const status =
    tickedAtMs === undefined ? undefined : { ...(await localStatus(deps, header)), updatedAtMs: tickedAtMs };
  const { service, heartbeatAgeMs } = context;
  const { globalId } = header.mirror!;
  const { pool } = context;
  const said = await Promise.all(context.peers.map(({ record }) => statusFrom(deps, pool.name, globalId, record.uuid)));
  const peers = context.peers.map((peer, index) => peerSite(header, peer, said[index]));
  const told = context.peers.map((peer, index) => ({ ...peer, beyond: said[index]?.beyond ?? [] }));
  const beyond = sitesBeyond(pool, told, deps.clock.nowMs());
  return { name: header.name, globalId, local: { status, heartbeatAgeMs, service }, peers, beyond };
}

/** What peers have told of others, for a report: none of them twice, nor one that is a peer itself. */
function sitesBeyond(
  pool: Pool,
  told: readonly { record: PeerRecord; beyond: readonly StatusBeyond[]; seen: PeerState['beyond'] }[],
  nowMs: number,
): (PeerSite & { via: string })[] {
  const direct = pool.peers.map(({ mirrorUuid }) => mirrorUuid);
  const rows = told.flatMap(({ record, beyond, seen = {} }) =>
    beyond.map(({ siteName, mirrorUuid, state, description, updatedAtMs }) => ({
      siteName,
      mirrorUuid,
      direction: record.direction,
      heartbeatAgeMs: seen[mirrorUuid] === undefined ? undefined : nowMs - seen[mirrorUuid],
      status: { state, description, updatedAtMs },
      via: record.siteName,
    })),
  );
  return eachOnce(rows, [...direct, ...(pool.mirror ? [pool.mirror.mirrorUuid] : [])]);
}

function peerSite(header: Header, { record, heartbeatAgeMs }: PeerContext, said: StoredStatus | undefined): PeerSite {
  const { siteName, mirrorUuid, direction } = record;
  const status = newer(said, receives(record) ? sourceStatus(header, record) : undefined);
  return { siteName, mirrorUuid, direction, heartbeatAgeMs, status };
}

const newer = (a: StoredStatus | undefined, b: StoredStatus | undefined): StoredStatus | undefined =>
  !a || (b && b.updatedAtMs > a.updatedAtMs) ? b : a;

/** Where our copy came from was primary when we copied; no message says so, and none is needed. */
function sourceStatus(header: Header, { uuid, mirrorUuid }: PeerRecord): StoredStatus | undefined {
  const { lastSync } = header.mirror!;
  const newest = mirrorSnapshots(header).at(-1)?.namespace;
  const peerMirrorUuid = lastSync?.peerUuid === uuid ? lastSync.peerMirrorUuid : mirrorUuid;
  const isCopied = newest?.state === 'non-primary' && newest.primaryMirrorUuid === peerMirrorUuid;
  return isCopied && lastSync ? { ...primaryStatus, updatedAtMs: lastSync.completedAtMs } : undefined;
}

/** How our copy stands, in Ceph's words. */
async function localStatus(deps: MirrorDeps, header: Header): Promise<StatusText> {
  const state = promotionState(mirrorSnapshots(header));
  const { sync, problem, lastSync, resyncRequestedAtMs } = header.mirror!;
  if (state === 'primary') return primaryStatus;
  // A sync that cannot go on is told as that, not as one that is slow.
  if (sync && problem?.error) return problemStatus(problem);
  if (sync)
    return replayingStatus({
      remoteSnapshotMs: sync.targetCreatedAtMs,
      lastSync,
      syncing: await progressOf(deps, header, sync),
      journal: journalOf(header),
    });
  // A request waits for a primary: that it is not there is what keeps it.
  const isWaiting = problem?.description === stopStatus['remote-not-primary'].description;
  if (resyncRequestedAtMs !== undefined && !isWaiting)
    return { state: 'starting_replay', description: 'resync requested' };
  if (problem) return problemStatus(problem);
  if (state === 'unknown') return { state: 'syncing', description: 'bootstrapping, CREATE_LOCAL_IMAGE' };
  if (state === 'orphan')
    return stopStatus[
      mirrorSnapshots(header).at(-1)?.namespace.state === 'primary-demoted' ? 'remote-not-primary' : 'remote-demoted'
    ];
  const told =
    header.mirror?.mode === 'journal' ? await ownStatus(deps, header.pool, header.mirror.globalId) : undefined;
  const isCurrent = told !== undefined && told.updatedAtMs >= (lastSync?.completedAtMs ?? 0);
  if (isCurrent && told.state === 'replaying') return { state: told.state, description: told.description };
  return replayingStatus({ remoteSnapshotMs: lastSync?.remoteTimestampMs, lastSync, journal: journalOf(header) });
}

const problemStatus = ({ description, error }: NonNullable<Mirror['problem']>): StatusText => ({
  state: error ? 'error' : 'unknown',
  description,
});

/** From the checkpoints: pieces are about equal in bytes. */
async function progressOf(deps: MirrorDeps, header: Header, sync: Sync): Promise<ReplayProgress['syncing']> {
  const listed = await listCheckpoints(deps, header.imageId, sync.syncId);
  const last = (await readCheckpoint(deps, header.imageId, sync.syncId, listed.stepCount - 1))?.manifest;
  const bytesTotal = last?.bytesSoFar ?? 0;
  const share = last && last.piecesSoFar > 0 ? listed.copied.size / last.piecesSoFar : 0;
  return {
    snapshotMs: sync.targetCreatedAtMs,
    bytesDone: Math.round(bytesTotal * share),
    bytesTotal,
    elapsedMs: deps.clock.nowMs() - sync.startedAtMs,
  };
}
