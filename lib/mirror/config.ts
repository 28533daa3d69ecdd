// Owns the options as a site's own work sees them: those of the site and a pool may be a few seconds old.

import { readPoolOverrides, readSiteOverrides, removeConfig, setConfig } from '../image/config.ts';
import type { ConfigOwner } from '../image/config.ts';
import type { OptionLevels, Overrides } from '../image/options.ts';
import type { DocumentDeps } from './limits.ts';
import { forget, recent } from './recent.ts';

const siteKey = 'options of the site';
const poolKey = (pool: string): string => `options of pool ${pool}`;

/** What holds for an image with this metadata, or (without) for the pool. Two GETs, or none when they were read a few seconds ago. */
export async function recentLevels(deps: DocumentDeps, pool: string, meta?: Overrides): Promise<OptionLevels> {
  const [site, ofPool] = await Promise.all([
    recent(deps, siteKey, () => readSiteOverrides(deps)),
    recent(deps, poolKey(pool), () => readPoolOverrides(deps, pool)),
  ]);
  return { site, pool: ofPool, meta };
}

/** As lib/image/config.ts, and it counts here at once. */
export async function overrideOption(
  deps: DocumentDeps,
  owner: ConfigOwner,
  name: string,
  value: string | undefined,
): Promise<void> {
  if (value === undefined) await removeConfig(deps, owner, name);
  else await setConfig(deps, owner, name, value);
  forget(deps, 'pool' in owner ? poolKey(owner.pool) : siteKey);
}
