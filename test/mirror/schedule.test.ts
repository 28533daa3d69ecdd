// Schedules: rbd's grammar (recorded in b-image, lines 136 to 204), levels, and exact slots.

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FarsideError } from '../../lib/errors.ts';
import {
  itemsFor,
  latestSlotMs,
  levelSpec,
  mergeSchedules,
  nextSlotMs,
  parseInterval,
  parseLevelSpec,
  parseStartTime,
  scheduleItem,
  scheduleRows,
  schedulesSchema,
  startOffsetMinutes,
  withItem,
  withoutItem,
} from '../../lib/mirror/schedules/schedule.ts';
import type { Schedules } from '../../lib/mirror/schedules/schedule.ts';

/** `every 1d starting at 14:00:00-05:00, every 1h` */
const describeItems = (items: ReturnType<typeof itemsFor>): string =>
  items
    .map(({ interval, startTime }) => `every ${interval}${startTime === '' ? '' : ` starting at ${startTime}`}`)
    .join(', ');

const empty: Schedules = { levels: {} };
const minuteMs = 60_000;
const at = (text: string): number => Date.parse(text);
const refusal = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error instanceof FarsideError ? `${error.code}: ${error.message}` : error;
  }
};

describe('intervals', () => {
  test.each([
    ['1', '1m'],
    ['1m', '1m'],
    ['0', '0d'],
    ['0m', '0d'],
    ['60', '1h'],
    ['90m', '90m'],
    ['24h', '1d'],
    ['36h', '36h'],
    ['1440m', '1d'],
    ['2160m', '36h'],
    ['7d', '7d'],
    ['007d', '7d'],
  ])('%s is %s', (text, canonical) => {
    expect(parseInterval(text)).toBe(canonical);
    expect(parseInterval(canonical)).toBe(canonical);
  });

  test.each(['1s', '1w', 'x', '', '-1m', '1.5h', '1 m', ' 1m', '1M', '٣m', '9999999999m'])('%j is refused', (text) => {
    expect(refusal(() => parseInterval(text))).toBe(`EINVAL: Invalid interval (${text})`);
  });
});

describe('start times', () => {
  test.each([
    ['14:00:00-05:00', '14:00:00-05:00', 19 * 60],
    ['2026-01-01T00:00:00Z', '00:00:00+00:00', 0],
    ['2026-01-01 06:30', '06:30:00', 390],
    ['6:30', '06:30:00', 390],
    ['12:34:56.789', '12:34:00', 754],
    ['01:00+0530', '01:00:00+05:30', -270],
    ['23:00-03', '23:00:00-03:00', 26 * 60],
  ])('%s is %s', (text, canonical, offsetMinutes) => {
    expect(parseStartTime(text)).toBe(canonical);
    expect(startOffsetMinutes(canonical)).toBe(offsetMinutes);
    expect(parseStartTime(canonical)).toBe(canonical);
  });

  test.each([
    ['25:00', 'Invalid start time 25:00: hour must be in 0..23: 25:00'],
    ['12:60', 'Invalid start time 12:60: minute must be in 0..59: 12:60'],
    ['notatime', 'Invalid start time notatime: Unknown string format: notatime'],
    ['12:00+99:00', 'Invalid start time 12:00+99:00: the zone must be within a day of UTC: 12:00+99:00'],
  ])('%s is refused as rbd refuses it', (text, message) => {
    expect(refusal(() => parseStartTime(text))).toBe(`EINVAL: ${message}`);
  });

  test('any text gives a canonical time or a refusal', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9:+ZT. -]{0,20}$/)), (text) => {
        const result = refusal(() =>
          schedulesSchema.parse({ levels: { '': [{ interval: '1m', startTime: parseStartTime(text) }] } }),
        );
        expect(
          typeof result === 'object' || (typeof result === 'string' && result.startsWith('EINVAL: Invalid start time')),
        ).toBe(true);
        expect(result).not.toBeInstanceOf(Error);
      }),
    );
  });
});

describe('slots', () => {
  const daily = [scheduleItem('1d', '14:00:00-05:00')];

  test('a slot is due at its very millisecond and not one before', () => {
    const slot = at('2026-11-23T19:00:00Z');
    expect(latestSlotMs(daily, slot)).toBe(slot);
    expect(nextSlotMs(daily, slot)).toBe(slot + 1440 * minuteMs);
    expect(latestSlotMs(daily, slot - 1)).toBe(slot - 1440 * minuteMs);
    expect(nextSlotMs(daily, slot - 1)).toBe(slot);
  });

  test('a minute schedule is aligned to the minute', () => {
    const items = [scheduleItem('1m')];
    expect(nextSlotMs(items, at('2026-11-23T07:08:00.001Z'))).toBe(at('2026-11-23T07:09:00Z'));
    expect(latestSlotMs(items, at('2026-11-23T07:08:59.999Z'))).toBe(at('2026-11-23T07:08:00Z'));
  });

  test('an interval that does not divide a day counts from the epoch, not from midnight', () => {
    const items = [scheduleItem('7h')];
    expect(nextSlotMs(items, 0)).toBe(7 * 60 * minuteMs);
    expect(latestSlotMs(items, 50 * 60 * minuteMs)).toBe(49 * 60 * minuteMs);
  });

  test('of several items the earliest is next and the latest was last', () => {
    const items = [scheduleItem('1h'), scheduleItem('1d', '00:30')];
    const now = at('2026-11-23T00:10:00Z');
    expect(nextSlotMs(items, now)).toBe(at('2026-11-23T00:30:00Z'));
    expect(latestSlotMs(items, at('2026-11-23T00:59:00Z'))).toBe(at('2026-11-23T00:30:00Z'));
  });

  test('an interval of zero is never due', () => {
    expect(nextSlotMs([scheduleItem('0')], 1000)).toBeUndefined();
    expect(latestSlotMs([scheduleItem('0m')], 1000)).toBeUndefined();
    expect(nextSlotMs([], 1000)).toBeUndefined();
    expect(nextSlotMs([scheduleItem('0'), scheduleItem('1m')], 0)).toBe(minuteMs);
  });

  test('latest ≤ now < next, both on the grid, one period apart', () => {
    const item = fc.record({
      minutes: fc.integer({ min: 1, max: 20_000 }),
      hour: fc.nat(23),
      zone: fc.constantFrom('', 'Z', '+05:30', '-11:00'),
    });
    fc.assert(
      fc.property(item, fc.nat(4e12), ({ minutes, hour, zone }, now) => {
        const items = [scheduleItem(`${minutes}`, `${hour}:15${zone}`)];
        const [latest, next] = [latestSlotMs(items, now)!, nextSlotMs(items, now)!];
        expect(latest).toBeLessThanOrEqual(now);
        expect(next).toBeGreaterThan(now);
        expect(next - latest).toBe(minutes * minuteMs);
        expect(latestSlotMs(items, next)).toBe(next);
      }),
    );
  });
});

describe('levels', () => {
  test.each([
    ['', {}],
    ['p/', { pool: 'p' }],
    ['p/ns/', { pool: 'p', namespace: 'ns' }],
    ['p/i', { pool: 'p', namespace: '', image: 'i' }],
    ['p/ns/i', { pool: 'p', namespace: 'ns', image: 'i' }],
  ])('%j parses and builds back', (spec, level) => {
    expect(parseLevelSpec(spec)).toEqual(level);
    expect(levelSpec(level)).toBe(spec);
  });

  test.each(['p', '/', '/i', 'p//', 'p//i', 'p/n/i/x'])('%j is refused', (spec) => {
    expect(refusal(() => parseLevelSpec(spec))).toMatch(/^EINVAL: Invalid level spec /);
  });

  const schedules = ['', 'p/', 'p/ns/', 'p/i', 'p/ns/i'].reduce(
    (all, spec, index) => withItem(all, spec, scheduleItem(`${index + 1}`))!,
    empty,
  );

  test.each([
    ['p', 'ns', 'i', 'every 5m'],
    ['p', 'ns', 'other', 'every 3m'],
    ['p', '', 'i', 'every 4m'],
    ['p', '', 'other', 'every 2m'],
    ['q', 'ns', 'i', 'every 1m'],
  ])('the most specific level wins outright for %s/%s/%s', (pool, namespace, image, text) => {
    expect(describeItems(itemsFor(schedules, { pool, namespace, image }))).toBe(text);
  });

  test('an image without any level has no schedule', () => {
    expect(itemsFor(empty, { pool: 'p', namespace: '', image: 'i' })).toEqual([]);
  });

  test('a level that was emptied does not hide the level above', () => {
    const emptied = withoutItem(schedules, 'p/i', scheduleItem('4'))!;
    expect(describeItems(itemsFor(emptied, { pool: 'p', namespace: '', image: 'i' }))).toBe('every 2m');
    expect(Object.keys(emptied.levels)).not.toContain('p/i');
  });
});

describe('a schedules document', () => {
  const mirror = [scheduleItem('24h', '14:00:00-05:00'), scheduleItem('1h')].reduce(
    (all, item) => withItem(all, 'mirror/', item)!,
    empty,
  );
  const schedules = withItem(withItem(mirror, '', scheduleItem('1d'))!, 'mirror/s1', scheduleItem('1m'))!;

  test('adding twice and removing what is not there change nothing', () => {
    expect(withItem(mirror, 'mirror/', scheduleItem('60m'))).toBeUndefined();
    expect(withoutItem(mirror, 'mirror/', scheduleItem('3m'))).toBeUndefined();
    expect(withoutItem(mirror, 'other/')).toBeUndefined();
  });

  test('an item is removed with its start time only', () => {
    expect(withoutItem(mirror, 'mirror/', scheduleItem('1d'))).toBeUndefined();
    expect(describeItems(withoutItem(mirror, 'mirror/', scheduleItem('1h'))!.levels['mirror/']!)).toBe(
      'every 1d starting at 14:00:00-05:00',
    );
  });

  test('removing without an item clears the level', () => {
    expect(withoutItem(mirror, 'mirror/')).toEqual(empty);
  });

  test('rows are as rbd lists them', () => {
    const poolItems = [
      { interval: '1d', start_time: '14:00:00-05:00' },
      { interval: '1h', start_time: '' },
    ];
    const rows = [
      { pool: '-', namespace: '-', image: '-', items: [{ interval: '1d', start_time: '' }] },
      { pool: 'mirror', namespace: '-', image: '-', items: poolItems },
      { pool: 'mirror', namespace: '', image: 's1', items: [{ interval: '1m', start_time: '' }] },
    ];
    expect(scheduleRows(schedules, '')).toEqual(rows);
    expect(scheduleRows(schedules, 'mirror/')).toEqual(rows.slice(1));
    expect(scheduleRows(schedules, 'mirror/s1')).toEqual(rows.slice(2));
    expect(scheduleRows(schedules, 'mir')).toEqual([]);
  });

  test('a level describes itself as rbd does', () => {
    expect(describeItems(schedules.levels['mirror/']!)).toBe('every 1d starting at 14:00:00-05:00, every 1h');
  });

  test('it is stored as it is, and a foreign text in it is refused', () => {
    expect(schedulesSchema.parse(JSON.parse(JSON.stringify(schedules)))).toEqual(schedules);
    expect(schedulesSchema.safeParse({ levels: { '': [{ interval: '1s', startTime: '' }] } }).success).toBe(false);
    expect(schedulesSchema.safeParse({ levels: { '': [{ interval: '1m', startTime: '25:00:00' }] } }).success).toBe(
      false,
    );
  });

  test('the global level and a pool are read as one', () => {
    const global = { levels: { '': schedules.levels['']! } };
    expect(itemsFor(mergeSchedules(global, mirror), { pool: 'else', namespace: '', image: 'i' })).toEqual(
      schedules.levels[''],
    );
  });
});
