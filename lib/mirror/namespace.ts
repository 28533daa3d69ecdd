// Owns the namespaces of a pool: pools/{pool}/namespaces/{name}.json says that there is one. The default namespace, whose name
// is empty, always is. How a namespace is mirrored is in the pool's document (pool.ts).
//
// An image is made in a namespace that exists. One that is made in the very moment in which its namespace is removed keeps
// existing; creating the namespace again shows it.

import { z } from 'zod';

import { createDocument, readDocument } from '../bucket/document.ts';
import { checkName, keyText, parseKey, prefixes } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { assertPlace, checkSpec } from '../image/names.ts';
import { hasTrash } from '../image/trash.ts';
import type { DocumentDeps } from './limits.ts';
import { hasImages, mirrorOf, notMirroring, readPool, type Pool } from './pool.ts';

const namespaceSchema = z.object({ createdAtMs: z.number() });

export const namespacesMax = 1000;

function namespaceKey(pool: string, namespace: string): string {
  checkSpec({ pool, namespace: checkName('namespace', namespace), image: 'any' });
  return keyText({ kind: 'namespace', pool, namespace });
}

export const noNamespace = (namespace: string): FarsideError =>
  new FarsideError('ENOENT', `namespace '${namespace}' does not exist.`);

/** The pool of a namespace that is mirrored. ENOENT: there is no such namespace. EINVAL: it is not mirrored. */
export async function mirroringPool(deps: DocumentDeps, pool: string, namespace: string): Promise<Pool> {
  const { value } = await readPool(deps, pool);
  if (mirrorOf(value, namespace)) return value;
  await assertPlace(deps, pool, namespace);
  throw notMirroring();
}

/** EEXIST; ENOSPC above `namespacesMax`. */
export async function createNamespace(deps: DocumentDeps, pool: string, namespace: string): Promise<void> {
  const key = namespaceKey(pool, namespace);
  if ((await listNamespaces(deps, pool)).length >= namespacesMax)
    throw new FarsideError('ENOSPC', `pool ${pool} has ${namespacesMax} namespaces already`);
  if (await createDocument(deps.bucket, key, { createdAtMs: deps.clock.nowMs() }, deps.random)) return;
  throw new FarsideError('EEXIST', `namespace '${namespace}' already exists`);
}

/** By name, without the default one. */
export async function listNamespaces(deps: DocumentDeps, pool: string): Promise<string[]> {
  await readPool(deps, pool);
  const names: string[] = [];
  for await (const { key } of deps.bucket.listAll(prefixes.namespaces(pool))) {
    const parsed = parseKey(key);
    if (parsed?.kind === 'namespace') names.push(parsed.namespace);
  }
  return names.toSorted();
}

/** ENOENT; EBUSY while it has images or is mirrored. */
export async function removeNamespace(deps: DocumentDeps, pool: string, namespace: string): Promise<void> {
  const key = namespaceKey(pool, namespace);
  const { value } = await readPool(deps, pool);
  const stored = await readDocument(deps.bucket, key, namespaceSchema);
  if (!stored) throw new FarsideError('ENOENT', 'namespace does not exist.');
  if (mirrorOf(value, namespace))
    throw new FarsideError('EBUSY', `namespace '${namespace}' is mirrored: disable mirroring of it first`);
  await checkEmpty(deps, pool, namespace);
  await deps.bucket.delete([key]);
  try {
    await checkEmpty(deps, pool, namespace); // an image that was being made meanwhile
  } catch (error) {
    await createDocument(deps.bucket, key, stored.value, deps.random);
    throw error;
  }
}

async function checkEmpty(deps: DocumentDeps, pool: string, namespace: string): Promise<void> {
  if ((await hasImages(deps, prefixes.names(pool, namespace))) || (await hasTrash(deps, pool, namespace)))
    throw new FarsideError('EBUSY', 'namespace contains images which must be deleted first.');
}
