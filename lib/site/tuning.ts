// Owns FARSIDE_TUNING: bounds of a site set from outside, as JSON `{ "limits": {…}, "settings": {…} }`. For tests that turn them
// down, and operators who know why; unset, every bound has its default.

import { z } from 'zod';
import { FarsideError } from '../errors.ts';
import { parseJson } from '../json.ts';
import { settingsDefault } from '../image/deps.ts';
import { limitsDefault } from '../mirror/limits.ts';
import type { SiteConfig } from './config.ts';

export type SiteTuning = Pick<SiteConfig, 'limits' | 'settings'>;

/** Some of the numbers of `defaults`, and no others. */
const someOf = <T extends Record<string, number>>(defaults: T) =>
  z.partialRecord(z.enum(Object.keys(defaults)), z.number().min(0)).transform((numbers) => numbers as Partial<T>);

const tuningSchema = z.strictObject({
  limits: someOf(limitsDefault).optional(),
  settings: someOf(settingsDefault).optional(),
});

export function parseTuning(text: string | undefined): SiteTuning {
  if (text === undefined || text === '') return {};
  const parsed = tuningSchema.safeParse(parseJson(text));
  if (!parsed.success)
    throw new FarsideError('EINVAL', `FARSIDE_TUNING is malformed:\n${z.prettifyError(parsed.error)}`);
  const { limits, settings } = parsed.data;
  return { ...(limits && { limits }), ...(settings && { settings }) };
}
