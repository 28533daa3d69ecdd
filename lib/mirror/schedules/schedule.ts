// Owns the rules of schedules, of mirror snapshots and of purges of the trash: rbd's grammar, levels, and which slot is due. Pure: time is an argument.
//
// A slot is a time on the grid `start time + k × interval`, counted from the Unix epoch in UTC. A snapshot is taken at most
// once for a slot, so a slot's time also identifies it.
//
// Deliberate difference: a start time with a zone means that instant (14:00:00-05:00 is 19:00 UTC). Ceph adds the zone's
// offset where it should subtract it.

import { z } from 'zod';
import { FarsideError } from '../../errors.ts';

const minuteMs = 60_000;
const dayMinutes = 1440;

const intervalUnits = { m: 1, h: 60, d: dayMinutes } as const;
const intervalDigitsMax = 9;

/** Canonical texts only, as `parseInterval` and `parseStartTime` give them. An empty start time means midnight UTC. */
export const scheduleItemSchema = z.object({
  interval: z.string().regex(/^\d{1,9}[dhm]$/),
  startTime: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d:00(|[+-]([01]\d|2[0-3]):[0-5]\d)$|^$/),
});
export type ScheduleItem = z.infer<typeof scheduleItemSchema>;

/** Items by level spec. A level without items has no key. */
const levelsSchema = z.record(z.string(), z.array(scheduleItemSchema));
export const schedulesSchema = z.object({ levels: levelsSchema });
export type Schedules = z.infer<typeof schedulesSchema>;

/** What can be scheduled: mirror snapshots, purges of the trash. */
export const scheduleKinds = ['snapshot', 'purge'] as const;
export type ScheduleKind = (typeof scheduleKinds)[number];

/** The document: `levels` are of mirror snapshots. */
export const scheduleDocumentSchema = schedulesSchema.extend({ purges: levelsSchema.optional() });
export type ScheduleDocument = z.infer<typeof scheduleDocumentSchema>;

export const schedulesOf = ({ levels, purges = {} }: ScheduleDocument, kind: ScheduleKind): Schedules => ({
  levels: kind === 'snapshot' ? levels : purges,
});
export const withSchedules = (
  document: ScheduleDocument,
  kind: ScheduleKind,
  { levels }: Schedules,
): ScheduleDocument => (kind === 'snapshot' ? { ...document, levels } : { ...document, purges: levels });

/** Digits and `d`, `h` or `m`; no letter means minutes. Canonical: whole days, else whole hours, else minutes. */
export function parseInterval(text: string): string {
  const [, digits, unit] = /^(\d+)([dhm])?$/.exec(text) ?? [];
  if (digits === undefined || digits.length > intervalDigitsMax)
    throw new FarsideError('EINVAL', `Invalid interval (${text})`);
  const minutes = Number(digits) * intervalUnits[(unit ?? 'm') as keyof typeof intervalUnits];
  if (minutes % dayMinutes === 0) return `${minutes / dayMinutes}d`;
  return minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`;
}

export const intervalMinutes = (interval: string): number =>
  Number(interval.slice(0, -1)) * intervalUnits[interval.slice(-1) as keyof typeof intervalUnits];

const startTimePattern =
  /^(?:\d{4}-\d{2}-\d{2}[T ])?(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?$/i;

/** ISO time of day with an optional zone; a date and the seconds are dropped. Canonical: `14:00:00-05:00`. */
export function parseStartTime(text: string): string {
  const [match, hour, minute, zone] = startTimePattern.exec(text.trim()) ?? [];
  const fail = (why: string): never => {
    throw new FarsideError('EINVAL', `Invalid start time ${text}: ${why}: ${text}`);
  };
  if (match === undefined) return fail('Unknown string format');
  if (Number(hour) > 23) return fail('hour must be in 0..23');
  if (Number(minute) > 59) return fail('minute must be in 0..59');
  const canonicalZone = zoneOf(zone) ?? fail('the zone must be within a day of UTC');
  return `${hour!.padStart(2, '0')}:${minute}:00${canonicalZone}`;
}

/** `+HH:MM`; empty without a zone; undefined when out of range. */
function zoneOf(zone: string | undefined): string | undefined {
  if (zone === undefined) return '';
  if (zone.toUpperCase() === 'Z') return '+00:00';
  const [sign, hours, minutes] = [zone[0], zone.slice(1, 3), zone.slice(3).replace(':', '') || '00'];
  return Number(hours) > 23 || Number(minutes) > 59 ? undefined : `${sign}${hours}:${minutes}`;
}

/** The instant of a canonical start time, as minutes after midnight UTC; may be negative or beyond a day. */
export function startOffsetMinutes(startTime: string): number {
  if (startTime === '') return 0;
  const zone = startTime.slice(8);
  const zoneMinutes = zone === '' ? 0 : (zone[0] === '-' ? -1 : 1) * hoursAndMinutes(zone.slice(1));
  return hoursAndMinutes(startTime) - zoneMinutes;
}

const hoursAndMinutes = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));

export const scheduleItem = (interval: string, startTime?: string): ScheduleItem => ({
  interval: parseInterval(interval),
  startTime: startTime === undefined || startTime === '' ? '' : parseStartTime(startTime),
});

/** The newest slot at or before `nowMs`. Undefined: none of the items is ever due (`0d`). */
export const latestSlotMs = (items: readonly ScheduleItem[], nowMs: number): number | undefined =>
  largest(items.flatMap((item) => slotsBy(item, nowMs, 0)));

/** The first slot after `nowMs`. */
export function nextSlotMs(items: readonly ScheduleItem[], nowMs: number): number | undefined {
  const slots = items.flatMap((item) => slotsBy(item, nowMs, 1));
  return slots.length === 0 ? undefined : Math.min(...slots);
}

const largest = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : Math.max(...values);

/** The item's newest slot that is not after `nowMs`, moved on by `stepCount` periods. Empty: never due. */
function slotsBy(item: ScheduleItem, nowMs: number, stepCount: number): number[] {
  const periodMs = intervalMinutes(item.interval) * minuteMs;
  if (periodMs === 0) return [];
  const startMs = startOffsetMinutes(item.startTime) * minuteMs;
  return [startMs + (Math.floor((nowMs - startMs) / periodMs) + stepCount) * periodMs];
}

/** Where a schedule is set. No pool: global. `namespace` undefined: not given; empty: the default one. */
export type ScheduleLevel = { pool?: string | undefined; namespace?: string | undefined; image?: string | undefined };

/** `''`, `pool/`, `pool/ns/`, `pool/image` or `pool/ns/image`. */
export function levelSpec({ pool, namespace, image }: ScheduleLevel): string {
  if (pool === undefined) return '';
  return `${pool}/${namespace ? `${namespace}/` : ''}${image ?? ''}`;
}

export function parseLevelSpec(spec: string): ScheduleLevel {
  const parts = spec.split('/');
  const [pool, second, third] = parts;
  if (spec === '') return {};
  if (parts.length === 2 && pool && second === '') return { pool };
  if (parts.length === 2 && pool && second) return { pool, namespace: '', image: second };
  if (parts.length === 3 && pool && second && third === '') return { pool, namespace: second };
  if (parts.length === 3 && pool && second && third) return { pool, namespace: second, image: third };
  throw new FarsideError(
    'EINVAL',
    `Invalid level spec ${spec}: expected pool/, pool/namespace/, pool/image or pool/namespace/image`,
  );
}

/** The items that hold for an image, or a namespace: those of the most specific level that has any; levels do not add up. */
export function itemsFor(
  schedules: Schedules,
  place: { pool: string; namespace: string; image?: string },
): readonly ScheduleItem[] {
  const { pool, namespace } = place;
  const levels: ScheduleLevel[] = [place, ...(namespace === '' ? [] : [{ pool, namespace }]), { pool }, {}];
  return levels.map((level) => schedules.levels[levelSpec(level)] ?? []).find((items) => items.length > 0) ?? [];
}

const sameItem = (a: ScheduleItem, b: ScheduleItem): boolean =>
  a.interval === b.interval && a.startTime === b.startTime;

/** Adding an item twice changes nothing: returns undefined. */
export function withItem(schedules: Schedules, spec: string, item: ScheduleItem): Schedules | undefined {
  const items = schedules.levels[spec] ?? [];
  if (items.some((other) => sameItem(other, item))) return undefined;
  return { levels: { ...schedules.levels, [spec]: [...items, item] } };
}

/** Removes one item, or without `item` all of the level. Undefined: there was nothing to remove, which is not an error. */
export function withoutItem(schedules: Schedules, spec: string, item?: ScheduleItem): Schedules | undefined {
  const items = schedules.levels[spec];
  const kept = item ? (items ?? []).filter((other) => !sameItem(other, item)) : [];
  if (!items || kept.length === items.length) return undefined;
  const { [spec]: _gone, ...others } = schedules.levels;
  return { levels: kept.length === 0 ? others : { ...others, [spec]: kept } };
}

/** Both of two documents, such as a site's global level and a pool's own levels. */
export const mergeSchedules = (a: Schedules, b: Schedules): Schedules => ({ levels: { ...a.levels, ...b.levels } });

/** One row of `schedule ls -R`: `-` means any; an empty namespace is the default one. */
export type ScheduleRow = {
  pool: string;
  namespace: string;
  image: string;
  items: { interval: string; start_time: string }[];
};

export const itemRows = (items: readonly ScheduleItem[]): ScheduleRow['items'] =>
  items.map(({ interval, startTime }) => ({ interval, start_time: startTime }));

/** The levels at and below `prefix` (a level spec that ends in `/`, an image's, or empty for all), by spec. */
export function scheduleRows(schedules: Schedules, prefix: string): ScheduleRow[] {
  const below = (spec: string): boolean =>
    spec === prefix || prefix === '' || (prefix.endsWith('/') && spec.startsWith(prefix));
  return Object.keys(schedules.levels)
    .filter(below)
    .toSorted()
    .map((spec) => {
      const { pool = '-', namespace = '-', image = '-' } = parseLevelSpec(spec);
      return { pool, namespace, image, items: itemRows(schedules.levels[spec]!) };
    });
}
