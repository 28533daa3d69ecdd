// Owns the bootstrap token: rbd's base64 of a JSON object. Pure. `mon_host` holds the URL of the site that made it.

import { z } from 'zod';

import { FarsideError } from '../../errors.ts';
import { parseJson } from '../../json.ts';
import { siteUrlFault } from '../site-url.ts';

const tokenSchema = z.object({
  fsid: z.string().min(1).max(64),
  client_id: z.literal('rbd-mirror-peer'),
  key: z.string().min(32).max(256),
  mon_host: z.string(),
});
export type Token = z.infer<typeof tokenSchema>;

const tokenTextMax = 8192;

export const encodeToken = (token: Omit<Token, 'client_id'>): string =>
  Buffer.from(
    JSON.stringify({ fsid: token.fsid, client_id: 'rbd-mirror-peer', key: token.key, mon_host: token.mon_host }),
  ).toString('base64');

/** EINVAL for anything that is not a token; the message never repeats its content, which holds a key. */
export function decodeToken(text: string): Token {
  const trimmed = text.trim();
  const isBase64 = trimmed.length <= tokenTextMax && /^[A-Za-z0-9+/]*={0,2}$/.test(trimmed);
  if (!isBase64) throw badToken('failed to decode base64');
  const parsed = tokenSchema.safeParse(parseJson(Buffer.from(trimmed, 'base64').toString('utf8')));
  const fault = parsed.success ? siteUrlFault(parsed.data.mon_host) : 'malformed';
  if (fault === 'insecure') throw badToken('the address of its site is neither https nor on this machine');
  if (!parsed.success || fault !== undefined) throw badToken('invalid bootstrap token JSON received');
  return parsed.data;
}

/** rbd's generic words, then the reason, which rbd writes to its log. */
export const badToken = (why: string): FarsideError =>
  new FarsideError('EINVAL', `failed to import peer bootstrap token: ${why}`);
