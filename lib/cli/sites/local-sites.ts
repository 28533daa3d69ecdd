// Owns what the `site` commands share: naming a site, finding it, and asking whether it answers.

import { FarsideError } from '../../errors.ts';
import type { Option } from '../command.ts';
import { findSite, type Registration } from './registry.ts';

const answerWaitMs = 2000;

export const siteNameOption: Option<string> = {
  flags: '--name <name>',
  help: 'name of the site',
  parse: (raw) => {
    if (typeof raw !== 'string' || raw === '')
      throw new FarsideError('EINVAL', 'site name was not specified: give --name');
    return raw;
  },
};

/** Throws ENOENT for a name that is not registered. */
export async function registeredSite(home: string, name: string): Promise<Registration> {
  const site = await findSite(home, name);
  if (site !== undefined) return site;
  throw new FarsideError('ENOENT', `site '${name}' is not registered: 'farside site ls' shows those that are`);
}

export function withoutPid({ pid: _pid, ...rest }: Registration): Registration {
  return rest;
}

/** Whether a farside site answers at this address. */
export async function answers(url: string, fetcher: typeof fetch): Promise<boolean> {
  try {
    const response = await fetcher(new URL('/health', url), { signal: AbortSignal.timeout(answerWaitMs) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
