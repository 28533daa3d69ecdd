// Owns the name documents: who holds which image name. **The header decides**: a name document is only an index, and one
// whose header is gone, is being removed, is in the trash or bears another name reads as absent. So renaming happens at one instant, the
// compare-and-swap of the header.
//
// A name document is never deleted while its pool lives: stores have no conditional delete, and a late one would take the
// name from the image that has it next. A freed name keeps a document that names no image (about 100 bytes).
//
// Taking a name that a half-done rename left behind (it may be running still):
//
//   rename of X from old to n                 create of Y as n
//   reads header X (version 1)
//   writes name n -> X
//                                             reads name n -> X, reads header X: bears `old`
//                                             rewrites header X unchanged (version 2)
//                                             compare-and-swaps name n -> Y
//   compare-and-swap of header X fails        (its version 1 is gone)
//   starts again: n is taken, EEXIST
//
// A rename always writes its name document after reading the header, also when it points to X already, so the taker's
// compare-and-swap fails if the rename started in between.

import { z } from 'zod';

import { backOff, raceBackoff } from '../bucket/backoff.ts';
import { createDocument, racesMax, readDocument, replaceDocument, type Stored } from '../bucket/document.ts';
import { checkName, keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import type { ImageDeps, ImageSpec } from './deps.ts';
import { headerSchema, type Header } from './header.ts';
import { parseImageId, type ImageId } from './ids.ts';

const nameSchema = z.object({
  imageId: z
    .string()
    .regex(/^[0-9a-f]{24}$/)
    .nullable(),
});
type Name = z.infer<typeof nameSchema>;

export type NameDeps = Pick<ImageDeps, 'bucket' | 'clock' | 'random' | 'points' | 'born' | 'spent'>;

/** `pool/[namespace/]image`, for messages. */
export const specText = (spec: ImageSpec): string =>
  `${spec.pool}/${spec.namespace === '' ? '' : `${spec.namespace}/`}${spec.image}`;

const nameKey = ({ pool, namespace, image }: ImageSpec): string => keyText({ kind: 'name', pool, namespace, image });
export const headerKey = (imageId: string): string => keyText({ kind: 'header', imageId });

/** Throws EINVAL unless every part of the spec is a well-formed name; `.` and `..` are none, since URLs resolve them away. */
export function checkSpec(spec: ImageSpec): void {
  const dots = [spec.pool, spec.namespace, spec.image, spec.snap].find((name) => name === '.' || name === '..');
  if (dots !== undefined) throw new FarsideError('EINVAL', `invalid name '${dots}'`);
  checkName('pool', spec.pool);
  if (spec.namespace !== '') checkName('namespace', spec.namespace);
  checkName('image', spec.image);
  if (spec.snap !== undefined) checkName('snapshot', spec.snap);
}

/** ENOENT unless there is such a pool, with such a namespace. One request when there is. */
export async function assertPlace(deps: Pick<NameDeps, 'bucket'>, pool: string, namespace: string): Promise<void> {
  if (namespace === '') return assertPool(deps, pool);
  if (await deps.bucket.head(keyText({ kind: 'namespace', pool, namespace }))) return;
  await assertPool(deps, pool);
  throw new FarsideError('ENOENT', `namespace '${namespace}' does not exist.`);
}

/** ENOENT: no such pool. One HEAD. */
export async function assertPool(deps: Pick<NameDeps, 'bucket'>, pool: string): Promise<void> {
  if (await deps.bucket.head(keyText({ kind: 'pool', pool }))) return;
  throw new FarsideError('ENOENT', `error opening pool '${pool}'`);
}

/** The image that a name document points to; the caller compares the header's own name. */
export async function readName(deps: NameDeps, spec: ImageSpec): Promise<ImageId | undefined> {
  const stored = await readDocument(deps.bucket, nameKey(spec), nameSchema);
  return stored?.value.imageId ? parseImageId(stored.value.imageId) : undefined;
}

export const bearsName = (header: Header, spec: ImageSpec): boolean =>
  header.removing !== true &&
  header.trash === undefined &&
  header.pool === spec.pool &&
  header.namespace === spec.namespace &&
  header.name === spec.image;

/**
 * Points the name at `imageId`; `taken` when another image bears it. One request when the name was never used. The image
 * has the name only when its header says so: write the header before (create) or compare-and-swap it after (rename),
 * in the second case from a version that was read before this call.
 */
export async function claimName(deps: NameDeps, spec: ImageSpec, imageId: ImageId): Promise<'claimed' | 'taken'> {
  const created = await createDocument<Name>(deps.bucket, nameKey(spec), { imageId }, deps.random);
  if (created) return 'claimed';
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (lostCount > 0) await backOff(raceBackoff, lostCount - 1, deps);
    const stored = await readDocument(deps.bucket, nameKey(spec), nameSchema);
    if (!stored) throw new FarsideError('ENOENT', `pool '${spec.pool}' is being removed`);
    const holder = await holderOf(deps, spec, stored, imageId);
    if (holder === 'bears') return 'taken';
    if (holder === 'busy') continue;
    if (await replaceDocument<Name>(deps.bucket, stored, { imageId }, deps.random)) return 'claimed';
  }
  throw new FarsideError('EAGAIN', `the name ${specText(spec)} is fought over: lost ${racesMax + 1} races`, {
    retry: 'later',
  });
}

/** Whether the image that a name document points to bears the name. If not, and it lives, it is kept from taking it meanwhile. */
async function holderOf(
  deps: NameDeps,
  spec: ImageSpec,
  stored: Stored<Name>,
  claimant: ImageId | undefined,
): Promise<'none' | 'bears' | 'busy'> {
  const { imageId } = stored.value;
  if (imageId === null || imageId === claimant) return 'none';
  const header = await readDocument(deps.bucket, headerKey(imageId), headerSchema);
  if (!header || header.value.removing === true) return 'none';
  if (bearsName(header.value, spec)) return 'bears';
  // Not a change, but a new version: a rename that read the old one has to start again.
  return (await replaceDocument(deps.bucket, header, header.value, deps.random)) ? 'none' : 'busy';
}

/**
 * Lets go of the name if it still points to `imageId`, and that image does not bear it. Repeatable; never takes a name from another
 * image, nor from one that has it again:
 *
 *   trash mv of X (slow), or a rename         trash restore of X, or a rename back
 *   compare-and-swap of header X: name free
 *                                             writes name n -> X; compare-and-swap of header X: bears n
 *   reads name n -> X, reads header X: bears n, so it stays
 */
export async function freeName(deps: NameDeps, spec: ImageSpec, imageId: string): Promise<void> {
  for (let lostCount = 0; lostCount <= racesMax; lostCount++) {
    if (lostCount > 0) await backOff(raceBackoff, lostCount - 1, deps);
    const stored = await readDocument(deps.bucket, nameKey(spec), nameSchema);
    if (stored?.value.imageId !== imageId) return;
    const holder = await holderOf(deps, spec, stored, undefined);
    if (holder === 'bears') return;
    if (holder === 'busy') continue;
    if (await replaceDocument<Name>(deps.bucket, stored, { imageId: null }, deps.random)) return;
  }
  throw new FarsideError('EAGAIN', `the name ${specText(spec)} is fought over: lost ${racesMax + 1} races`, {
    retry: 'later',
  });
}
