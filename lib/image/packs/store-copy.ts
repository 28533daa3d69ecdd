// Owns putting a copy of a pack, whole or sparse, into an image's packs: put-if-absent, or united with the sparser copy that
// is there. Repeating it changes nothing.
//
// Memory: the copy, and, when uniting, the one that is there and the union.
//
//   this copy of P                         another copy of P (a repeated message, or the other half of it)
//   create P: exists                       create P: stored
//   reads P, unites, replace If-Match
//                                          the same; one of the two loses, reads again, and finds nothing left to add

import { keyText } from '../../bucket/keys.ts';
import { FarsideError } from '../../errors.ts';
import type { ImageDeps } from '../deps.ts';
import type { PackId } from '../ids.ts';
import { mergeCopies } from './pack-copy.ts';
import { indexBytes, parsePackIndex, type PackIndex } from '../format/pack.ts';

type StoreDeps = Pick<ImageDeps, 'bucket'>;

const triesMax = 5;

export async function storeCopy(deps: StoreDeps, imageId: string, packId: PackId, body: Uint8Array): Promise<void> {
  const key = keyText({ kind: 'pack', imageId, packId });
  for (let tries = 0; tries < triesMax; tries++) {
    if ((await deps.bucket.create(key, body)).created) return;
    if (await unite(deps, key, packId, body)) return;
  }
  throw new FarsideError('EAGAIN', `pack ${packId} keeps changing here while it is copied; try again`, {
    retry: 'later',
  });
}

/** True when the stored copy has all that ours has, now or already. */
async function unite(deps: StoreDeps, key: string, packId: PackId, body: Uint8Array): Promise<boolean> {
  const ours = parsePackIndex(body, packId);
  const head = await deps.bucket.get(key, { range: { offset: 0, length: indexBytes(ours.entryCount) } });
  if (head.status !== 'found') return false;
  if (covers(parsePackIndex(head.body, packId), ours)) return true;
  const stored = await deps.bucket.get(key, { ifMatch: head.meta.etag });
  if (stored.status !== 'found') return false;
  const merged = mergeCopies(packId, stored.body, body);
  return merged === undefined || (await deps.bucket.replace(key, merged, stored.meta.etag)).replaced;
}

function covers(stored: PackIndex, ours: PackIndex): boolean {
  for (let entryIndex = 0; entryIndex < ours.entryCount; entryIndex++) {
    if (ours.isPresent(entryIndex) && !stored.isPresent(entryIndex)) return false;
  }
  return true;
}
