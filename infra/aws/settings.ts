// Owns what the operator says about a site on AWS: CDK context (`-c site=site-a …`), checked before anything is made of it.

import { z } from 'zod';
import { FarsideError } from '../../lib/errors.ts';
import { parseTuning } from '../../lib/site/tuning.ts';

const minutesPerDay = 24 * 60;

const settingsSchema = z.object({
  /** Names the site, its stack (`farside-<site>`) and its secrets. */
  site: z
    .string('is missing')
    .regex(
      /^[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?$/,
      'must be 1 to 32 small letters, digits and dashes, beginning with a letter',
    ),
  /** Where peers and clients reach the site, when that is not the function URL: a CDN or a name of one's own in front of it. */
  siteUrl: z
    .url({ protocol: /^https$/, error: 'must begin with https://' })
    .transform((url) => url.replace(/\/+$/, ''))
    .optional(),
  /** Each version of an object is kept for so long, whoever deletes it. Only when the bucket is made. */
  objectLockDays: z.coerce.number('must be a number of days').int('must be whole days').min(1).max(36_500).optional(),
  /** `compliance` binds the account's root user too. */
  objectLockMode: z.enum(['governance', 'compliance'], 'must be governance or compliance').default('governance'),
  /** An image that has been behind for so long, with a recovery point as old, raises the alarm. */
  rpoMinutes: z.coerce
    .number('must be a number of minutes')
    .int('must be whole minutes')
    .min(1)
    .max(minutesPerDay)
    .default(15),
  /** Gets the alarms, after confirming the subscription that AWS sends. */
  alarmEmail: z.email('must be an e-mail address').optional(),
  /** Bounds what strangers can make the open function URL cost. Unset: the account's limit, which every function shares. */
  httpConcurrencyMax: z.coerce.number('must be a number').int('must be a whole number').min(1).max(1000).optional(),
  /** FARSIDE_TUNING of the functions. */
  tuning: z.string().refine(isTuning, 'is not what lib/site/tuning.ts accepts').optional(),
});
export type SiteSettings = z.infer<typeof settingsSchema>;

const contextNames = Object.keys(settingsSchema.shape);

/** EINVAL names each wrong value's key, and how to give it. */
export function parseSettings(contextOf: (name: string) => unknown): SiteSettings {
  const given = contextNames.map((name) => [name, contextOf(name)] as const).filter(([, value]) => value !== undefined);
  const parsed = settingsSchema.safeParse(Object.fromEntries(given));
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`);
  throw new FarsideError(
    'EINVAL',
    `${faults.join('; ')}: give it with -c, for example 'npx cdk deploy -c site=site-a'`,
  );
}

function isTuning(text: string): boolean {
  try {
    parseTuning(text);
    return true;
  } catch {
    return false;
  }
}
