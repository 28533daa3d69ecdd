// Schedules of mirror snapshots at all four levels, in the words and tables of rbd's manager module; and what is due next.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { Sessions } from './sessions.ts';

let operator: Sessions;
beforeEach(async () => {
  operator = await Sessions.start();
  await operator.pairSites();
  await operator.session([
    [`${a} namespace create rbd/ns1`],
    [`${a} mirror pool enable rbd/ns1 image`],
    [`${a} create vm-1 --size 1M`],
    [`${a} create rbd/ns1/vm-2 --size 1M`],
    [`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n'],
    [`${a} mirror image enable rbd/ns1/vm-2 snapshot`, 'Mirroring enabled\n'],
  ]);
});
afterEach(() => operator.end());

const a = '--cluster site-a';
const schedule = `${a} mirror snapshot schedule`;
const failed = (verb: string, why: string): string =>
  `farside: rbd mirror snapshot schedule ${verb} failed: (22) Invalid argument: ${why}\n`;

test('four levels: each has its own items, and -R shows those at and below', async () => {
  await operator.session([
    [`${schedule} ls -R`, 'POOL  NAMESPACE  IMAGE  SCHEDULE\n'],
    [`${schedule} ls -R --format json`, '[]\n'],
    [`${schedule} ls -p rbd -R --format xml`, '<schedules></schedules>\n'],
    [`${schedule} add 1d`],
    [`${schedule} add -p rbd 6h`],
    [`${schedule} add -p rbd --namespace ns1 90m 08:30`],
    [`${schedule} add -p rbd --image vm-1 1440m 14:00:00-05:00`],
    [`${schedule} add --image rbd/ns1/vm-2 5`],
    [`${schedule} ls`, 'every 1d\n'],
    [`${schedule} ls -p rbd`, 'every 6h\n'],
    [`${schedule} ls -p rbd --namespace ns1`, 'every 90m starting at 08:30:00\n'],
    [`${schedule} ls --image rbd/vm-1`, 'every 1d starting at 14:00:00-05:00\n'],
    [`${schedule} list --pool rbd --namespace ns1 --image vm-2`, 'every 5m\n'],
    [
      `${schedule} ls -R`,
      `POOL  NAMESPACE  IMAGE  SCHEDULE                           
-     -          -      every 1d                           
rbd   -          -      every 6h                           
rbd   ns1        -      every 90m starting at 08:30:00     
rbd   ns1        vm-2   every 5m                           
rbd              vm-1   every 1d starting at 14:00:00-05:00
`,
    ],
    [
      `${schedule} ls -p rbd --namespace ns1 --recursive`,
      `POOL  NAMESPACE  IMAGE  SCHEDULE                      
rbd   ns1        -      every 90m starting at 08:30:00
rbd   ns1        vm-2   every 5m                      
`,
    ],
    [
      `${schedule} ls -p rbd --namespace ns1 -R --format xml`,
      '<schedules><schedule><pool>rbd</pool><namespace>ns1</namespace><image>-</image><items><item><interval>90m</interval>' +
        '<start_time>08:30:00</start_time></item></items></schedule><schedule><pool>rbd</pool><namespace>ns1</namespace>' +
        '<image>vm-2</image><items><item><interval>5m</interval><start_time></start_time></item></items></schedule></schedules>\n',
    ],
  ]);
});

test('what is due: by the most specific level, in order of time; a level without images is empty', async () => {
  await operator.session([
    [`${schedule} status`, 'SCHEDULE TIME  IMAGE\n'],
    [`${schedule} add -p rbd 1h`],
    [`${schedule} add -p rbd/ns1 1d 07:30`],
    [
      `${schedule} status`,
      'SCHEDULE TIME        IMAGE       \n2026-11-23 07:30:00  rbd/ns1/vm-2\n2026-11-23 08:00:00  rbd/vm-1    \n',
    ],
    [`${schedule} status --image rbd/vm-1`, 'SCHEDULE TIME        IMAGE   \n2026-11-23 08:00:00  rbd/vm-1\n'],
    [
      `${schedule} status -p rbd --namespace ns1 --format json`,
      '[{"schedule_time":"2026-11-23 07:30:00","image":"rbd/ns1/vm-2"}]\n',
    ],
    [`${schedule} add -p rbd --image vm-1 0m`],
    [`${schedule} ls -p rbd --image vm-1`, 'every 0d\n'],
    [`${schedule} status --image rbd/vm-1`, 'SCHEDULE TIME  IMAGE\n'],
  ]);
});

test('removal: one item, one with its start time, or all of a level; what is not there is no error', async () => {
  await operator.session([
    [`${schedule} add -p rbd 1h`],
    [`${schedule} add -p rbd 1h 00:30`],
    [`${schedule} add -p rbd 2h`],
    [`${schedule} add -p rbd 60m`],
    [`${schedule} ls -p rbd`, 'every 1h, every 1h starting at 00:30:00, every 2h\n'],
    [`${schedule} rm -p rbd 60m`],
    [`${schedule} rm -p rbd 3h`],
    [`${schedule} ls -p rbd`, 'every 1h starting at 00:30:00, every 2h\n'],
    [`${schedule} remove -p rbd 1h 00:30`],
    [`${schedule} ls -p rbd`, 'every 2h\n'],
    [`${schedule} rm -p rbd`],
    [`${schedule} rm -p rbd`],
    [`${schedule} ls -p rbd`, '', 2],
  ]);
});

test('a schedule goes with its image: by another name, and when mirroring ends', async () => {
  await operator.session([
    [`${schedule} add -p rbd --image vm-1 1h`],
    [`${a} rename vm-1 vm-3`],
    [`${schedule} ls -p rbd --image vm-3`, 'every 1h\n'],
    [
      `${schedule} ls -p rbd --image vm-1`,
      failed('list', 'Invalid level spec rbd/vm-1: image vm-1 does not exist'),
      22,
    ],
  ]);
});

test('errors: level, interval, start time, and what is missing', async () => {
  const level = (spec: string, why: string): string => `Invalid level spec ${spec}: ${why}`;
  await operator.session([
    [`${a} create plain --size 1M`],
    [`${schedule} add`, "farside: missing 'interval' argument\n", 22],
    [`${schedule} add -p rbd`, "farside: missing 'interval' argument\n", 22],
    [`${schedule} add -p none 1h`, failed('add', level('none/', 'pool none does not exist')), 22],
    [`${schedule} add -p rbd --namespace x 1h`, failed('add', level('rbd/x/', 'namespace x does not exist')), 22],
    [`${schedule} add --image rbd/ns1/x 1h`, failed('add', level('rbd/ns1/x', 'image x does not exist')), 22],
    [`${schedule} rm --image rbd/x`, failed('remove', level('rbd/x', 'image x does not exist')), 22],
    [
      `${schedule} add --image rbd/plain 1h`,
      failed('add', level('rbd/plain', 'image plain is not in snapshot mirror mode')),
      22,
    ],
    [`${schedule} status -p none`, failed('status', level('none/', 'pool none does not exist')), 22],
    ...['1s', '1w', 'x', '1.5h', 'h'].map(
      (interval) => [`${schedule} add ${interval}`, failed('add', `Invalid interval (${interval})`), 22] as const,
    ),
    [`${schedule} add 1h notatime`, failed('add', 'Invalid start time notatime: Unknown string format: notatime'), 22],
    [`${schedule} add 1h 12:60`, failed('add', 'Invalid start time 12:60: minute must be in 0..59: 12:60'), 22],
    [
      `${schedule} ls -p rbd/ns1 --namespace ns1`,
      'farside: namespace is specified both via namespace and pool options\n',
      22,
    ],
    [`${schedule} add -p rbd --image rbd/vm-1 1h`, 'farside: pool is specified both via pool and image options\n', 22],
    [`${schedule} add 1h 12:00 more`, 'farside: too many arguments\n', 1],
  ]);
});

test('zones and forms of start times come out as rbd shows them', async () => {
  const shown: Record<string, string> = {
    '14:00': '14:00:00',
    '2026-01-01T14:05:30Z': '14:05:00+00:00',
    '14:00:00-05:00': '14:00:00-05:00',
    '9:07+02': '09:07:00+02:00',
    '23:59:59.5+0530': '23:59:00+05:30',
  };
  for (const [given, text] of Object.entries(shown)) {
    await operator.session([
      [`${schedule} add 1d ${given}`],
      [`${schedule} ls`, `every 1d starting at ${text}\n`],
      [`${schedule} rm`],
    ]);
  }
  expect(Object.keys(shown).length).toBe(5);
});
