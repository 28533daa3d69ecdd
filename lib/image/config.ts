// Owns the documents that override options: config.json for the site, in sections as Ceph has them, and one for each pool.
// What an option means and which level decides is options.ts; an image's own overrides are its metadata.

import { z } from 'zod';

import { createDocument, readDocument, updateDocument } from '../bucket/document.ts';
import { checkName, keyText } from '../bucket/keys.ts';
import { FarsideError } from '../errors.ts';
import { openHeader } from './access.ts';
import type { ImageSpec } from './deps.ts';
import { assertPool, type NameDeps } from './names.ts';
import { checkOption, checkOptionName, optionRows, siteSections } from './options.ts';
import type { OptionLevels, OptionRow, Overrides, SiteSection } from './options.ts';

/** A pool has the one section `pool`. */
const sections = [...siteSections, 'pool'] as const;
type Section = (typeof sections)[number];
const configSchema = z.object({ sections: z.partialRecord(z.enum(sections), z.record(z.string(), z.string())) });
type Config = z.infer<typeof configSchema>;

/** Whose override: a pool's, or that of a section of the site (`global`, `client`). */
export type ConfigOwner = { pool: string } | { section: string };
type ReadDeps = Pick<NameDeps, 'bucket'>;

const siteKey = keyText({ kind: 'config' });
const poolKey = (pool: string): string => keyText({ kind: 'pool-config', pool: checkName('pool', pool) });

async function readConfig(deps: ReadDeps, key: string): Promise<Config['sections']> {
  return (await readDocument(deps.bucket, key, configSchema))?.value.sections ?? {};
}

/** One GET; what the sections say together. */
export async function readSiteOverrides(deps: ReadDeps): Promise<Overrides> {
  const { global, client } = await readConfig(deps, siteKey);
  return { ...global, ...client };
}

/** One GET. A pool that does not exist overrides nothing. */
export const readPoolOverrides = async (deps: ReadDeps, pool: string): Promise<Overrides> =>
  (await readConfig(deps, poolKey(pool))).pool ?? {};

/** Two GETs. */
export async function readLevels(deps: ReadDeps, pool: string, meta?: Overrides): Promise<OptionLevels> {
  const [site, ofPool] = await Promise.all([readSiteOverrides(deps), readPoolOverrides(deps, pool)]);
  return { site, pool: ofPool, meta };
}

/** ENOENT: no such pool. */
export async function listPoolConfig(deps: NameDeps, pool: string): Promise<OptionRow[]> {
  checkName('pool', pool);
  await assertPool(deps, pool);
  return optionRows('pool', await readLevels(deps, pool));
}

export async function listImageConfig(deps: NameDeps, spec: ImageSpec): Promise<OptionRow[]> {
  const { value } = await openHeader(deps, spec);
  return optionRows('image', await readLevels(deps, spec.pool, value.meta));
}

export type SiteOptionRow = { name: string; value: string; section: SiteSection };

/** What holds for `section`: of `client` also what `global` says and it does not. */
export async function listSiteConfig(deps: ReadDeps, section: string): Promise<SiteOptionRow[]> {
  const asked = checkSection(section);
  const stored = await readConfig(deps, siteKey);
  const rows = new Map<string, SiteOptionRow>();
  for (const one of siteSections.slice(0, siteSections.indexOf(asked) + 1))
    for (const [name, value] of Object.entries(stored[one] ?? {})) rows.set(name, { name, value, section: one });
  return [...rows.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The owner's own override. ENOENT: it has none. */
export async function getConfig(deps: NameDeps, owner: ConfigOwner, name: string): Promise<string> {
  const place = await placeOf(deps, owner);
  checkOptionName(name, place.level);
  const overrides = (await readConfig(deps, place.key))[place.section];
  const value = overrides && Object.hasOwn(overrides, name) ? overrides[name] : undefined;
  if (value === undefined) throw notSet(name);
  return value;
}

/** EINVAL: no such option, or no value of it. */
export async function setConfig(deps: NameDeps, owner: ConfigOwner, name: string, value: string): Promise<void> {
  const place = await placeOf(deps, owner);
  checkOption(name, value, place.level);
  await changeSection(deps, place, (overrides) => ({ ...overrides, [name]: value }));
}

/** ENOENT: a pool has none; a section of the site that has none is fine, as in rbd. */
export async function removeConfig(deps: NameDeps, owner: ConfigOwner, name: string): Promise<void> {
  const place = await placeOf(deps, owner);
  checkOptionName(name, place.level);
  await changeSection(deps, place, ({ [name]: removed, ...overrides }) => {
    if (removed === undefined && place.level === 'pool') throw notSet(name);
    return overrides;
  });
}

const notSet = (name: string): FarsideError => new FarsideError('ENOENT', `${name} is not set`);

type Place = { key: string; section: Section; level: 'site' | 'pool' };

async function placeOf(deps: NameDeps, owner: ConfigOwner): Promise<Place> {
  if ('section' in owner) return { key: siteKey, section: checkSection(owner.section), level: 'site' };
  const key = poolKey(owner.pool);
  await assertPool(deps, owner.pool);
  return { key, section: 'pool', level: 'pool' };
}

function checkSection(section: string): SiteSection {
  const found = siteSections.find((known) => known === section);
  if (found) return found;
  const why = section.startsWith('client.')
    ? 'farside knows no clients by id: use global or client'
    : 'must be global, client or client.<id>';
  throw new FarsideError('EINVAL', `invalid config entity: ${section} (${why})`);
}

async function changeSection(
  deps: NameDeps,
  { key, section }: Place,
  change: (overrides: Record<string, string>) => Record<string, string>,
): Promise<void> {
  const changed = (config: Config): Config => ({
    sections: { ...config.sections, [section]: change(config.sections[section] ?? {}) },
  });
  const update = () => updateDocument(deps.bucket, key, configSchema, deps.random, deps.clock, changed);
  if (await update()) return;
  if (!(await createDocument(deps.bucket, key, changed({ sections: {} }), deps.random))) await update();
}
