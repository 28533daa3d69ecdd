// Owns garbage collection of one image: packs that nothing reaches are deleted, packs that are mostly dead are rewritten
// sparse under the same key. A run is a chain of bounded steps; each reads the state that the step before wrote
// (`collect/{run}/{step}`, write-once), so any step may be repeated or lost, and a run that died is simply forgotten.
//
// Safety (I7) needs no clocks but the grace for young uploads:
//
//   mark      walks every root of the header, noting which entries of the candidate packs are alive
//   condemn   re-reads the header; walks the roots that are new since; then compare-and-swaps `header.collect` into that very
//             version. So at this instant no root of the header reaches anything condemned, and an unfinished sync forbids it.
//   sweep     deletes. Meanwhile `commitRoot` refuses roots with condemned packs, and no sync can start.
//   release   compare-and-swaps `header.collect` away and counts `collectGeneration` up, which makes writers that began
//             before check that the packs they found are still there.

import { z } from 'zod';
import type { Stored } from '../../bucket/document.ts';
import type { ObjectMeta } from '../../bucket/driver.ts';
import { keyText, parseKey, prefixes } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { readHeader, updateHeader } from '../access.ts';
import { forgetGone } from '../clones/children.ts';
import { Candidates, candidatesSchema, slotName } from './collect-candidates.ts';
import { removeLeftovers, sweep } from './collect-sweep.ts';
import { condemnedSchema, type Condemned } from './condemned.ts';
import type { ImageDeps } from '../deps.ts';
import { walk } from '../map/diff.ts';
import { withoutExpired } from '../formerly.ts';
import { reachableRoots, rootSchema, type Header, type Root } from '../header.ts';
import { parseEpochId } from '../ids.ts';
import { openStore } from '../packs/pack-store.ts';
import { fenceBytes } from '../format/fence.ts';

export type CollectLimits = {
  /** Map nodes walked by one step. */
  nodesMax: number;
  /** Packs looked at by one run; the next run goes on behind them. */
  packsMax: number;
  /** Packs rewritten by one run. */
  shrinksMax: number;
};

export const collectLimitsDefault: CollectLimits = { nodesMax: 4096, packsMax: 8000, shrinksMax: 64 };

const stateSchema = z.discriminatedUnion('phase', [
  z.object({
    phase: z.literal('mark'),
    /** The header's `collectGeneration` when the run began. */
    generation: z.int(),
    /** Roots walked completely, and those being walked. */
    marked: z.array(rootSchema),
    marking: z.array(rootSchema),
    /** The parent whose root was left out of the walk: what it reaches, this image need not have. */
    parentId: z.string().nullable(),
    from: z.number(),
    candidates: candidatesSchema,
    /** Where the next run begins: a pack's key; null when this run sees the last. */
    after: z.string().nullable(),
  }),
  condemnedSchema.extend({ phase: z.literal('sweep'), after: z.string().nullable() }),
]);
type State = z.infer<typeof stateSchema>;
type MarkState = Extract<State, { phase: 'mark' }>;

export type CollectMessage = { imageId: string; run: string; step: number };

/** `next`: the message to send now; undefined: the image is done, or must be left alone for now. */
export type CollectResult = { next?: CollectMessage; deletedPacks: number; shrunkPacks: number; freedBytes: number };

const nothing: CollectResult = { deletedPacks: 0, shrunkPacks: 0, freedBytes: 0 };

/** A run's name. */
export const newRun = (deps: Pick<ImageDeps, 'random'>): string => deps.random.uuid();

/** One bounded step: at most `nodesMax` map nodes, or `shrinksMax` packs rewritten one after another. */
export async function collectStep(
  deps: ImageDeps,
  message: CollectMessage,
  limits: CollectLimits = collectLimitsDefault,
): Promise<CollectResult> {
  const header = await readHeader(deps, message.imageId);
  if (!header) return nothing;
  if (header.value.collect) return await finishSweep(deps, header.value, limits);
  if (header.value.mirror?.sync) return nothing;
  const state = await readState(deps, message);
  if (!state) return message.step === 0 ? await start(deps, header.value, message, null, limits) : nothing;
  // Another run swept meanwhile: roots that this one marked may be gone.
  if (state.phase !== 'mark' || state.generation !== header.value.collectGeneration) return nothing;
  // A flatten began, which needs copies that were not marked.
  if (state.parentId !== providerOf(header.value).parentId) return nothing;
  return await mark(deps, message, header, state, limits);
}

async function start(
  deps: ImageDeps,
  current: Header,
  message: CollectMessage,
  from: string | null,
  limits: CollectLimits,
): Promise<CollectResult> {
  if (from === null) await forgetGone(deps, current);
  const header = from === null ? await forgetFormer(deps, current) : current;
  const { candidates, after } = await listCandidates(deps, header, from, limits.packsMax);
  if (candidates.size === 0 && after === null) return await finishRun(deps, header, message);
  const { parentId, provided } = providerOf(header);
  const state: State = {
    phase: 'mark',
    generation: header.collectGeneration,
    marked: provided,
    marking: without(reachableRoots(header), provided),
    parentId,
    from: 0,
    candidates: candidates.encode(),
    after,
  };
  return { ...nothing, next: await writeState(deps, message, state) };
}

/** Points of mirroring that was given up too long ago are not reachable any more. */
async function forgetFormer(deps: ImageDeps, header: Header): Promise<Header> {
  const nowMs = deps.clock.nowMs();
  const forget = (now: Header): Header | undefined => withoutExpired(now, nowMs);
  return forget(header) ? (await updateHeader(deps, header.imageId, forget, { byMirroring: true })).value : header;
}

/** A clone has what its parent's snapshot reaches from there, unless it is being flattened. */
function providerOf({ parent }: Header): { parentId: string | null; provided: Root[] } {
  if (!parent || parent.flatten) return { parentId: null, provided: [] };
  return { parentId: parent.imageId, provided: parent.root ? [parent.root] : [] };
}

/** Stored packs old enough to be judged, from `after` on: segments first. */
async function listCandidates(
  deps: ImageDeps,
  header: Header,
  after: string | null,
  packsMax: number,
): Promise<{ candidates: Candidates; after: string | null }> {
  const candidates = new Candidates();
  const oldMs = deps.clock.nowMs() - deps.settings.collectGraceMs;
  const start = after ?? undefined;
  let seen = 0;
  for (const prefix of prefixesFrom(header, start)) {
    for await (const object of deps.bucket.listAll(prefix, start?.startsWith(prefix) === true ? start : undefined)) {
      const name = object.uploadedAtMs <= oldMs ? candidateName(header, object) : undefined;
      if (name !== undefined) candidates.add(name, object.bytes);
      if (++seen >= packsMax) return { candidates, after: object.key };
    }
  }
  return { candidates, after: null };
}

function prefixesFrom({ imageId, journal }: Header, after: string | undefined): string[] {
  const [segments, packs] = [prefixes.journal(imageId), prefixes.packs(imageId)];
  return journal && after?.startsWith(packs) !== true ? [segments, packs] : [packs];
}

/** Undefined: it stays. Fences stay while the image lives, and what is not folded is the head (I7). */
function candidateName(
  { journal }: Header,
  { key: text, bytes }: Pick<ObjectMeta, 'key' | 'bytes'>,
): string | undefined {
  const key = parseKey(text);
  if (key?.kind === 'pack') return key.packId;
  if (key?.kind !== 'slot' || bytes <= fenceBytes) return undefined;
  const isFolded = journal && (journal.folded.epoch !== key.epoch || key.seq < journal.folded.seq);
  return isFolded ? slotName({ epoch: parseEpochId(key.epoch), seq: key.seq }) : undefined;
}

async function mark(
  deps: ImageDeps,
  message: CollectMessage,
  header: Stored<Header>,
  state: MarkState,
  limits: CollectLimits,
): Promise<CollectResult> {
  const candidates = Candidates.decode(state.candidates);
  const walked = await walk({
    store: openStore(deps, header.value),
    objectBytes: header.value.objectBytes,
    wanted: state.marking,
    held: state.marked,
    fromOffset: state.from,
    nodesMax: limits.nodesMax,
    onEntry: (pack, entryIndex) => candidates.mark(pack, entryIndex),
  });
  const encoded = candidates.encode();
  if (walked.next !== null)
    return { ...nothing, next: await writeState(deps, message, { ...state, from: walked.next, candidates: encoded }) };
  const marked = union(state.marked, state.marking);
  const marking = without(reachableRoots(header.value), marked);
  if (marking.length > 0)
    return {
      ...nothing,
      next: await writeState(deps, message, { ...state, marked, marking, from: 0, candidates: encoded }),
    };
  return await condemn(deps, message, { header, state, candidates, limits });
}

type Condemning = { header: Stored<Header>; state: MarkState; candidates: Candidates; limits: CollectLimits };

/** Every root of this version of the header is marked: what is not alive now is garbage. */
async function condemn(
  deps: ImageDeps,
  message: CollectMessage,
  { header, state, candidates, limits }: Condemning,
): Promise<CollectResult> {
  const condemned = await candidates.condemned(openStore(deps, header.value), message.imageId, limits.shrinksMax);
  if (condemned.packs.length + condemned.shrinks.length === 0)
    return await nextShard(deps, header.value, message, { after: state.after, result: nothing, limits });
  const named = { ...message, step: message.step + 1 };
  await writeState(deps, message, { phase: 'sweep', ...condemned, after: state.after });
  const collect = { run: message.run, step: named.step, startedAtMs: deps.clock.nowMs() };
  const published = await publish(deps, header, collect);
  if (!published) return { ...nothing, next: { imageId: message.imageId, run: newRun(deps), step: 0 } };
  return await finishSweep(deps, published, limits);
}

/** Undefined when the header changed since it was read: then what was marked may be out of date. */
async function publish(
  deps: ImageDeps,
  header: Stored<Header>,
  collect: NonNullable<Header['collect']>,
): Promise<Header | undefined> {
  let lost = false;
  const change = (current: Header): Header | undefined => {
    lost ||= current !== header.value;
    return lost ? undefined : { ...current, collect };
  };
  const stored = await updateHeader(deps, header, change, { byMirroring: true });
  return lost ? undefined : stored.value;
}

/** Deletes what `header.collect` condemns, then releases it. Also finishes what a run that died left. */
async function finishSweep(deps: ImageDeps, header: Header, limits: CollectLimits): Promise<CollectResult> {
  const { run, step } = header.collect!;
  const state = await readState(deps, { imageId: header.imageId, run, step });
  const condemned: Condemned = state?.phase === 'sweep' ? state : { packs: [], shrinks: [] };
  const swept = await sweep(deps, header, condemned);
  const released = await updateHeader(
    deps,
    header.imageId,
    (current) => {
      if (current.collect?.run !== run) return undefined;
      const { collect: _, ...rest } = current;
      return { ...rest, collectGeneration: current.collectGeneration + 1 };
    },
    { byMirroring: true },
  );
  const after = state?.phase === 'sweep' ? state.after : null;
  return await nextShard(
    deps,
    released.value,
    { imageId: header.imageId, run, step },
    { after, result: swept, limits },
  );
}

/** A run's end: where the next one begins (null: nowhere), and what this one did. */
type RunEnd = { after: string | null; result: CollectResult; limits: CollectLimits };

/** Goes on behind the packs that this run looked at, under the same limits, or ends. */
async function nextShard(
  deps: ImageDeps,
  header: Header,
  message: CollectMessage,
  { after, result, limits }: RunEnd,
): Promise<CollectResult> {
  await deleteStates(deps, message);
  if (after === null) return { ...(await finishRun(deps, header, message)), ...result };
  const next = { imageId: header.imageId, run: newRun(deps), step: 0 };
  const started = await start(deps, header, next, after, limits);
  return { ...result, ...(started.next && { next: started.next }) };
}

async function finishRun(deps: ImageDeps, header: Header, message: CollectMessage): Promise<CollectResult> {
  await deleteStates(deps, message);
  await removeLeftovers(deps, header);
  return nothing;
}

const stateKey = ({ imageId, run, step }: CollectMessage): string => keyText({ kind: 'collect', imageId, run, step });

async function readState(deps: ImageDeps, message: CollectMessage): Promise<State | undefined> {
  const found = await deps.bucket.get(stateKey(message));
  if (found.status !== 'found') return undefined;
  try {
    return stateSchema.parse(JSON.parse(Buffer.from(found.body).toString()));
  } catch (cause) {
    throw new FarsideError(
      'EBADMSG',
      `the state of collection run ${message.run} is damaged; the next run starts anew`,
      { cause },
    );
  }
}

/** Writes the state of the step after `message` and answers the message for it. */
async function writeState(deps: ImageDeps, message: CollectMessage, state: State): Promise<CollectMessage> {
  const next = { imageId: message.imageId, run: message.run, step: message.step + 1 };
  await deps.bucket.create(stateKey(next), Buffer.from(JSON.stringify(state)));
  return next;
}

async function deleteStates(deps: ImageDeps, message: CollectMessage): Promise<void> {
  await deps.bucket.delete(Array.from({ length: message.step + 2 }, (_, step) => stateKey({ ...message, step })));
}

const rootKey = (root: Root): string => `${root.pack}/${root.entry}`;

function union(a: readonly Root[], b: readonly Root[]): Root[] {
  return [...new Map([...a, ...b].map((root) => [rootKey(root), root])).values()];
}

function without(roots: readonly Root[], taken: readonly Root[]): Root[] {
  const keys = new Set(taken.map(rootKey));
  return roots.filter((root) => !keys.has(rootKey(root)));
}
