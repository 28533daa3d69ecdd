// Owns the way of one pack from the primary into the replica's bucket: fetch what is wanted, verify every entry, store it
// put-if-absent, or unite it with the sparser copy that is there. Repeating it changes nothing.
//
// Memory: one pack as fetched, one being made of it, and, when uniting, the one that is there.
//
//   this copy                              collection at the primary
//   reads the index of P (tag 1)
//                                          stores P without dead entries (tag 2)
//   reads a range, If-Match tag 1: changed
//   begins again with the index (tag 2); what is wanted is reachable there, so it is still in P

import pLimit from 'p-limit';

import { allDone } from '../../all-done.ts';
import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import { inlineCodec } from '../../image/packs/bulk-codec.ts';
import { parsePackId } from '../../image/ids.ts';
import type { PackId } from '../../image/ids.ts';
import { entryNumbers, rangesOf, verifiedCopy } from '../../image/packs/pack-copy.ts';
import { indexBytes, parseAnyPackIndex, parsePackIndex } from '../../image/format/pack.ts';
import { storeCopy } from '../../image/packs/store-copy.ts';
import type { MirrorDeps } from '../deps.ts';
import type { PackWant } from '../messages.ts';
import type { PackEntries, PackOptions, Peer } from '../peer-protocol.ts';

/** Wanted ranges with a smaller gap are fetched as one: a request costs more than so many bytes. */
const gapBytesMax = 32 * 1024;
/** Above this share of a pack, all of it is fetched by one request instead of an index and ranges. */
const wholeShareMin = 0.9;
const triesMax = 5;

export type Transfer = { peer: Peer; primaryImageId: string; imageId: string };

/** Copies packs, a few at once. Gives the bytes fetched. ESTALE: a pack is not at the primary any more. */
export async function transferPacks(deps: MirrorDeps, transfer: Transfer, wants: readonly PackWant[]): Promise<number> {
  const limit = pLimit(deps.limits.packsConcurrency);
  const copied = await allDone(wants.map((want) => limit(() => transferPack(deps, transfer, want))));
  return copied.reduce((sum, bytes) => sum + bytes, 0);
}

async function transferPack(deps: MirrorDeps, transfer: Transfer, want: PackWant): Promise<number> {
  const packId = parsePackId(want.pack);
  if (await isInSlot(deps, transfer.imageId, packId, want)) return 0;
  const { body, fetchedBytes, release } = isMostlyWanted(want)
    ? await fetchWhole(deps, transfer, packId, want)
    : await fetchParts(transfer, packId, want);
  await storeCopy(deps, transfer.imageId, packId, body);
  // Only then: a failed or repeated request may still be sending these bytes.
  if (deps.bucket.freesBody) release?.();
  return fetchedBytes;
}

/** What was copied as a segment of a journal is here already, in the slot where the map looks for it. */
async function isInSlot(deps: MirrorDeps, imageId: string, packId: PackId, want: PackWant): Promise<boolean> {
  if (!want.slot) return false;
  const key = keyText({ kind: 'slot', imageId, ...want.slot });
  const head = await deps.bucket.get(key, { range: { offset: 0, length: indexBytes(want.entryCount) } });
  if (head.status !== 'found' || head.body.length < indexBytes(want.entryCount)) return false;
  const index = parseAnyPackIndex(head.body);
  return (
    index.packId === packId && entryNumbers(want.entries, index.entryCount).every((entry) => index.isPresent(entry))
  );
}

const isMostlyWanted = (want: PackWant): boolean =>
  want.entries === 'all' || want.payloadBytes >= want.packBytes * wholeShareMin;

type Fetched = { body: Uint8Array; fetchedBytes: number; release?: (() => void) | undefined };

/** Everything that the primary has of the pack, as it came. */
async function fetchWhole(deps: MirrorDeps, transfer: Transfer, packId: PackId, want: PackWant): Promise<Fetched> {
  const { body, release } = await ask(transfer, packId, { slot: want.slot });
  await (deps.codec ?? inlineCodec).verify(packId, body);
  const index = parsePackIndex(body, packId);
  for (const entryIndex of entryNumbers(want.entries, index.entryCount)) {
    if (!index.isPresent(entryIndex))
      throw new FarsideError(
        'EBADMSG',
        `the primary lacks entry ${entryIndex} of pack ${packId}, which its snapshot needs`,
      );
  }
  return { body, fetchedBytes: body.length, release };
}

/** What is wanted and no more: cut out by the primary, or by us out of its index and ranges. */
async function fetchParts(transfer: Transfer, packId: PackId, want: PackWant): Promise<Fetched> {
  if (transfer.peer.packEntries && want.entries !== 'all')
    return fetchCut(transfer, packId, { entries: want.entries, slot: want.slot });
  for (let tries = 0; tries < triesMax; tries++) {
    const fetched = await fetchPartsOnce(transfer, packId, want);
    if (fetched) return fetched;
  }
  throw new FarsideError('EAGAIN', `pack ${packId} keeps changing at the primary while it is copied; try again`, {
    retry: 'later',
  });
}

async function fetchCut({ peer, primaryImageId }: Transfer, packId: PackId, wanted: PackEntries): Promise<Fetched> {
  const answer = await peer.packEntries!(primaryImageId, packId, wanted);
  if (answer.status !== 'found') throw lost(packId);
  const { body } = answer;
  // Verified here: what crossed the wire is not trusted.
  const copy = verifiedCopy(parsePackIndex(body, packId), wanted.entries, (offset, length) =>
    body.subarray(offset, offset + length),
  );
  answer.release?.();
  return { body: copy, fetchedBytes: body.length };
}

async function fetchPartsOnce(transfer: Transfer, packId: PackId, want: PackWant): Promise<Fetched | undefined> {
  const { slot } = want;
  const head = await ask(transfer, packId, { range: { offset: 0, length: indexBytes(want.entryCount) }, slot });
  const index = parsePackIndex(head.body, packId);
  const runs: { offset: number; body: Uint8Array }[] = [];
  for (const range of rangesOf(index, want.entries, gapBytesMax)) {
    const answer = await transfer.peer.pack(transfer.primaryImageId, packId, { range, ifMatch: head.etag, slot });
    if (answer.status === 'changed') return undefined;
    if (answer.status === 'absent') throw lost(packId);
    runs.push({ offset: range.offset, body: answer.body });
  }
  const body = verifiedCopy(index, want.entries, (offset, length) => bytesOf(runs, offset, length));
  return { body, fetchedBytes: head.body.length + runs.reduce((sum, run) => sum + run.body.length, 0) };
}

/** The bytes of one entry, from the run that holds it. Empty entries lie nowhere. */
function bytesOf(runs: readonly { offset: number; body: Uint8Array }[], offset: number, length: number): Uint8Array {
  const run = runs.findLast((candidate) => candidate.offset <= offset);
  return run ? run.body.subarray(offset - run.offset, offset - run.offset + length) : new Uint8Array();
}

async function ask(
  transfer: Transfer,
  packId: PackId,
  options?: PackOptions,
): Promise<{ body: Uint8Array; etag: string; release?: (() => void) | undefined }> {
  const answer = await transfer.peer.pack(transfer.primaryImageId, packId, options);
  if (answer.status === 'found') return answer;
  throw lost(packId);
}

const lost = (packId: PackId): FarsideError =>
  new FarsideError(
    'ESTALE',
    `pack ${packId} is not at the primary any more; the copy begins again with a newer snapshot`,
    { retry: 'later' },
  );
