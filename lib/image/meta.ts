// Owns image metadata: text by key in the header, for users and for per-image options (`conf_…`). Each change is a read and
// one compare-and-swap. It replicates with the next mirror snapshot.

import { FarsideError } from '../errors.ts';
import { openHeader, updateHeader, type HeaderTarget } from './access.ts';
import type { ImageSpec } from './deps.ts';
import type { Header } from './header.ts';
import type { NameDeps } from './names.ts';
import { checkMetaOption } from './options.ts';

export const metaKeyBytesMax = 255;
export const metaValueBytesMax = 64 * 1024;
/** All keys and values of one image: the header and every mirror snapshot carry them. */
export const metaBytesMax = 256 * 1024;

/** EINVAL: malformed key, or no such option or value of one (`conf_…`). EFBIG: value too long. ENOSPC: too much metadata in all. */
export async function setMeta(deps: NameDeps, target: HeaderTarget, key: string, value: string): Promise<void> {
  checkMeta(key, value);
  checkMetaOption(key, value);
  await updateHeader(deps, target, (header) => {
    if (header.meta[key] === value && Object.hasOwn(header.meta, key)) return undefined;
    const meta = { ...header.meta, [key]: value };
    checkMetaBytes(meta, header.name);
    return { ...header, meta };
  });
}

/** The metadata that a new image begins with. Throws as `setMeta`. */
export function newMeta(entries: readonly (readonly [key: string, value: string])[], image: string): Header['meta'] {
  for (const [key, value] of entries) checkMeta(key, value);
  const meta = Object.fromEntries(entries);
  checkMetaBytes(meta, image);
  return meta;
}

function checkMetaBytes(meta: Header['meta'], image: string): void {
  if (bytesOf(meta) <= metaBytesMax) return;
  throw new FarsideError('ENOSPC', `the metadata of image ${image} would pass ${metaBytesMax} bytes`);
}

function checkMeta(key: string, value: string): void {
  if (key === '__proto__' || key === '' || /\p{Cc}/u.test(key) || Buffer.byteLength(key) > metaKeyBytesMax) {
    throw new FarsideError(
      'EINVAL',
      `invalid metadata key: use 1 to ${metaKeyBytesMax} bytes without control characters`,
    );
  }
  if (Buffer.byteLength(value) > metaValueBytesMax) {
    throw new FarsideError('EFBIG', `the value of metadata ${key} is above ${metaValueBytesMax} bytes`);
  }
}

const bytesOf = (meta: Header['meta']): number =>
  Object.entries(meta).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);

/** ENOENT: no such key. */
export async function getMeta(deps: NameDeps, spec: ImageSpec, key: string): Promise<string> {
  const meta = await listMeta(deps, spec);
  const value = Object.hasOwn(meta, key) ? meta[key] : undefined;
  if (value === undefined) throw missingKey(key);
  return value;
}

/** In the order of the keys' code units. */
export async function listMeta(deps: NameDeps, spec: ImageSpec): Promise<Record<string, string>> {
  const { value: header } = await openHeader(deps, spec);
  return Object.fromEntries(Object.entries(header.meta).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** ENOENT: no such key. */
export async function removeMeta(deps: NameDeps, target: HeaderTarget, key: string): Promise<void> {
  await updateHeader(deps, target, (header) => {
    if (!Object.hasOwn(header.meta, key)) throw missingKey(key);
    const { [key]: _removed, ...meta } = header.meta;
    return { ...header, meta };
  });
}

const missingKey = (key: string): FarsideError => new FarsideError('ENOENT', `metadata key ${key} does not exist`);
