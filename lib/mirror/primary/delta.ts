// Owns the cutting of deltas at the primary: what the target snapshot reaches and the replica does not hold, as write-once
// manifests, one bounded step at a time.
//
// - Wanted: the roots of the target and of the user snapshots in its image state. Held: roots that both sites have whole,
//   found by Merkle identity (pack, entry); the replica offers, this site picks those that it has too.
// - A delta is named by its roots, so equal requests share it. Steps after the first follow from the manifest before, which
//   repeats the roots; a delta of one step is not stored at all: asking again costs one bounded walk.
// - Whoever comes first stores a step (put-if-absent); everybody answers with what is stored. Two walks of the same trees
//   agree anyway, but the count of nodes per step may change with a new version of farside, and then they would not.
//
//   replica asks for step 1             `delta` message for step 1
//   reads step 1: absent                reads step 1: absent
//   walks                               walks
//   create step 1: stored               create step 1: refused, reads it back

import type { Stored } from '../../bucket/document.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { parseJson } from '../../json.ts';
import { readHeader, updateHeader } from '../../image/access.ts';
import { walk } from '../../image/map/diff.ts';
import { hash128 } from '../../image/format/digest.ts';
import { mirrorSnapshots, readableRoots } from '../../image/header.ts';
import type { Header, MirrorSnapshot, Root } from '../../image/header.ts';
import { openStore } from '../../image/packs/pack-store.ts';
import type { MirrorDeps } from '../deps.ts';
import { manifestSchema } from '../messages.ts';
import type { Manifest, Message, Outcome } from '../messages.ts';
import type { DeltaAnswer, DeltaRequest } from '../peer-protocol.ts';
import { withoutDisconnected } from './disconnected.ts';
import { PieceCutter } from './pieces.ts';
import { claimTarget, pruned, withPeerSets } from '../roles/retention.ts';

const gone: DeltaAnswer = { status: 'gone' };
const ack: Outcome = { kind: 'ack' };

/** Answers one step to the peer that the pool knows as `peerUuid`, and has the following one cut ahead. */
export async function serveDelta(
  deps: MirrorDeps,
  stored: Stored<Header>,
  peerUuid: string,
  request: DeltaRequest,
): Promise<DeltaAnswer> {
  const answer =
    request.step === 0
      ? await firstStep(deps, stored, peerUuid, request)
      : await laterStep(deps, stored.value, request.targetSnapId, request);
  if (answer.status === 'found' && answer.manifest.next !== null)
    await cutAhead(deps, stored.value, request.targetSnapId, answer.manifest);
  return answer;
}

async function cutAhead(
  deps: MirrorDeps,
  header: Header,
  targetSnapId: number,
  { deltaId, step }: Manifest,
): Promise<void> {
  const message: Message = {
    type: 'delta',
    pool: header.pool,
    imageId: header.imageId,
    targetSnapId,
    deltaId,
    step: step + 1,
  };
  await deps.queue.send([message]).catch(() => undefined); // only speed is lost: the replica's own request cuts it
}

/** A `delta` message: cuts one step, then sends itself on. */
export async function handleDelta(deps: MirrorDeps, message: Extract<Message, { type: 'delta' }>): Promise<Outcome> {
  const stored = await readHeader(deps, message.imageId);
  if (!stored) return ack;
  const answer = await laterStep(deps, stored.value, message.targetSnapId, message);
  if (answer.status === 'found' && answer.manifest.next !== null)
    await cutAhead(deps, stored.value, message.targetSnapId, answer.manifest);
  return ack;
}

async function firstStep(
  deps: MirrorDeps,
  stored: Stored<Header>,
  peerUuid: string,
  request: DeltaRequest,
): Promise<DeltaAnswer> {
  const header = await claimed(deps, stored, peerUuid, request);
  const target = header && targetOf(header, request.targetSnapId);
  if (!target) return gone;
  const wanted = wantedRoots(target);
  const held = sharedRoots(request.held ?? [], readableRoots(header));
  const manifest = await cut(deps, header, {
    deltaId: deltaIdOf(wanted, held),
    step: 0,
    wanted,
    held,
    fromOffset: 0,
    piecesSoFar: 0,
    bytesSoFar: 0,
  });
  return {
    status: 'found',
    manifest: manifest.next === null ? manifest : await store(deps, header, request.targetSnapId, manifest),
  };
}

/** What the peer copies stays until it is acknowledged (retention.ts). Usually there is nothing to change. */
async function claimed(
  deps: MirrorDeps,
  stored: Stored<Header>,
  peerUuid: string,
  { linkSnapId, targetSnapId, resync }: DeltaRequest,
): Promise<Header | undefined> {
  let found = true;
  const claim = (header: Header): Header | undefined => {
    const peerSets = claimTarget(mirrorSnapshots(header), peerUuid, { linkSnapId, targetSnapId });
    found = peerSets !== undefined;
    const connected = resync === true ? withoutDisconnected(header, peerUuid) : header;
    return peerSets && (peerSets.length > 0 || connected !== header)
      ? { ...connected, snapshots: pruned(withPeerSets(header.snapshots, peerSets)) }
      : undefined;
  };
  const { value } = await updateHeader(deps, stored, claim, { byMirroring: true });
  return found ? value : undefined;
}

async function laterStep(
  deps: MirrorDeps,
  header: Header,
  targetSnapId: number,
  request: { deltaId?: string | undefined; step: number },
): Promise<DeltaAnswer> {
  const { deltaId, step } = request;
  if (deltaId === undefined || step === 0 || !targetOf(header, targetSnapId)) return gone;
  const present = await read(deps, header, targetSnapId, deltaId, step);
  if (present) return { status: 'found', manifest: present };
  const before = await read(deps, header, targetSnapId, deltaId, step - 1);
  if (!before || before.next === null) return gone;
  const { wanted, held, piecesSoFar, bytesSoFar } = before;
  try {
    const manifest = await cut(deps, header, {
      deltaId,
      step,
      wanted,
      held,
      fromOffset: before.next,
      piecesSoFar,
      bytesSoFar,
    });
    return { status: 'found', manifest: await store(deps, header, targetSnapId, manifest) };
  } catch (error) {
    if (isLost(header, held)) return gone;
    throw error;
  }
}

/** A root that both sites held was removed here since the delta began; its nodes may be collected. */
function isLost(header: Header, held: readonly Root[]): boolean {
  return sharedRoots(held, readableRoots(header)).length < held.length;
}

const targetOf = (header: Header, snapId: number): MirrorSnapshot | undefined =>
  mirrorSnapshots(header).find((snapshot) => snapshot.id === snapId);

const keyOf = (root: Root): string => `${root.pack}/${root.entry}`;

function distinct(roots: readonly (Root | null)[]): Root[] {
  return [...new Map(roots.flatMap((root) => (root ? [[keyOf(root), root] as const] : []))).values()];
}

/** What a replica at this snapshot must reach. */
export const wantedRoots = (target: Pick<MirrorSnapshot, 'root' | 'namespace'>): Root[] =>
  distinct([target.root, ...target.namespace.image.snapshots.map((snapshot) => snapshot.root)]);

/** The roots of `ours` that `theirs` has too. */
export function sharedRoots(ours: readonly Root[], theirs: readonly Root[]): Root[] {
  const keys = new Set(theirs.map(keyOf));
  return distinct(ours).filter((root) => keys.has(keyOf(root)));
}

/** Names a delta by its two sets of roots: 128 bits, hex. */
export function deltaIdOf(wanted: readonly Root[], held: readonly Root[]): string {
  const text = [wanted, held].map((roots) => roots.map(keyOf).toSorted().join(' ')).join('\n');
  return hash128(Buffer.from(text)).toString('hex');
}

type Step = Pick<Manifest, 'deltaId' | 'step' | 'wanted' | 'held' | 'piecesSoFar' | 'bytesSoFar'> & {
  fromOffset: number;
};

/** One bounded walk. */
async function cut(deps: MirrorDeps, header: Header, { fromOffset, ...step }: Step): Promise<Manifest> {
  const store = openStore(deps, header);
  const cutter = new PieceCutter(deps.limits);
  const { wanted, held } = step;
  const onEntry = cutter.add.bind(cutter);
  const { next } = await walk({
    store,
    objectBytes: header.objectBytes,
    wanted,
    held,
    fromOffset,
    nodesMax: deps.limits.walkNodesMax,
    onEntry,
  });
  const pieces = cutter.pieces();
  const bytesSoFar = step.bytesSoFar + pieces.reduce((sum, piece) => sum + piece.bytes, 0);
  return { version: 1, ...step, pieces, piecesSoFar: step.piecesSoFar + pieces.length, bytesSoFar, next };
}

const deltaKey = (header: Header, snapshotId: number, deltaId: string, step: number): string =>
  keyText({ kind: 'delta', imageId: header.imageId, snapshotId, deltaId, step });

async function store(deps: MirrorDeps, header: Header, snapId: number, manifest: Manifest): Promise<Manifest> {
  const key = deltaKey(header, snapId, manifest.deltaId, manifest.step);
  const { created } = await deps.bucket.create(key, new TextEncoder().encode(JSON.stringify(manifest)));
  if (created) return manifest;
  return (await read(deps, header, snapId, manifest.deltaId, manifest.step)) ?? manifest;
}

async function read(
  deps: MirrorDeps,
  header: Header,
  snapId: number,
  deltaId: string,
  step: number,
): Promise<Manifest | undefined> {
  const key = deltaKey(header, snapId, deltaId, step);
  const found = await deps.bucket.get(key);
  if (found.status !== 'found') return undefined;
  const parsed = manifestSchema.safeParse(parseJson(found.body));
  if (!parsed.success) throw new FarsideError('EBADMSG', `malformed manifest '${key}'`);
  return parsed.data;
}

/** The manifests of a delta that a replica has finished. Deleting is free, also of what is not there. */
export async function deleteDelta(
  deps: MirrorDeps,
  header: Header,
  snapId: number,
  deltaId: string,
  stepCount: number,
): Promise<void> {
  const steps = Array.from({ length: Math.min(stepCount, stepsMax) }, (_, step) => step);
  if (stepCount > 1) await deps.bucket.delete(steps.map((step) => deltaKey(header, snapId, deltaId, step)));
}

/** 16 TiB take about a thousand steps. */
const stepsMax = 100_000;
