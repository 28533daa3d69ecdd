// Owns dates on the command line. rbd hands them to date(1), so `tomorrow`, `2 hours` and `next friday` are dates; so does
// farside, but for `now` and ISO 8601, which need no other program.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { FarsideError } from '../../errors.ts';

const isoPattern = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/;
const dateTimeoutMs = 10_000;

/** Milliseconds since the epoch. EINVAL: no date. */
export async function parseTimeMs(text: string, nowMs: number): Promise<number> {
  if (text === 'now') return nowMs;
  const iso = isoPattern.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(iso)) return iso;
  try {
    const { stdout } = await promisify(execFile)('date', [`--date=${text}`, '+%s'], { timeout: dateTimeoutMs });
    if (/^-?\d+$/.test(stdout.trim())) return Number(stdout.trim()) * 1000;
  } catch {
    // Not a date, or not GNU's date(1).
  }
  throw new FarsideError(
    'EINVAL',
    `invalid date '${text}': use now, YYYY-MM-DD, YYYY-MM-DDThh:mm:ssZ, or what date(1) reads`,
  );
}
