// Owns what the peer commands share: their options, rbd's peer spec, and how a site that this CLI knows becomes a peer.

import { FarsideError } from '../../errors.ts';
import { Client } from '../client/client.ts';
import type { Direction } from '../client/client.ts';
import type { Context } from './context.ts';
import { choiceOption, switchOption } from '../parse/parameters.ts';
import { findSite } from './registry.ts';

const directions: readonly Direction[] = ['rx-only', 'rx-tx'];
export const directionDefault: Direction = 'rx-tx';
export const directionOption = choiceOption(
  '--direction <direction>',
  `mirroring direction (default: ${directionDefault})`,
  directions,
);
export const additionalOption = switchOption(
  '--additional',
  'one more peer to receive from, which rbd does not allow: each image follows the one that is ahead',
);

const specPattern = /^(?:([^@]+)@)?([^@]*)$/;

/** `[client.name@]cluster`; rbd's default client is `client.admin`. */
export function parsePeerSpec(text: string): { client: string; cluster: string } {
  const match = specPattern.exec(text);
  if (!match) throw new FarsideError('EINVAL', `invalid spec '${text}'`);
  return { client: match[1] ?? 'client.admin', cluster: match[2] ?? '' };
}

export type Contact = { monHost: string; key: string };

/**
 * Where a site that this CLI knows is, and a bootstrap key of its pool, made for this purpose. Undefined: no such site is
 * known here. A site that refuses, or does not answer, is told about in a note: it may introduce itself later.
 */
export async function contactOf(context: Context, pool: string, cluster: string): Promise<Contact | undefined> {
  const site = await findSite(context.home, cluster);
  if (!site) return undefined;
  try {
    const token = await new Client(site, context.terminal.fetch).createBootstrapToken(pool, {});
    const { mon_host: monHost, key } = JSON.parse(Buffer.from(token, 'base64').toString('utf8')) as Record<
      string,
      string
    >;
    return monHost === undefined || key === undefined ? undefined : { monHost, key };
  } catch (error) {
    if (!(error instanceof FarsideError)) throw error;
    context.output.note(`note: site '${cluster}' was added by name only: ${error.message}`);
    return undefined;
  }
}
