// Plain text against real rbd sessions: what rbd printed as JSON, said plainly by farside, is what rbd said plainly.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  plainInfo,
  plainListedImages,
  plainMeta,
  plainSnapshots,
  plainUsage,
} from '../../lib/cli/output/plain-image.ts';
import {
  plainImageStatus,
  plainPoolInfo,
  plainPoolStatus,
  plainScheduleLevels,
  plainScheduleStatus,
  scheduleText,
} from '../../lib/cli/output/plain-mirror.ts';
import {
  imageStatusShape,
  infoShape,
  listedImagesShape,
  poolInfoShape,
  poolStatusShape,
  scheduleItemsShape,
  scheduleLevelsShape,
  scheduleStatusShape,
  snapshotsShape,
} from '../../lib/cli/client/shapes.ts';

const transcripts = join(import.meta.dirname, '../transcripts/recordings');
const jsonFlags = ' --format json --pretty-format';

type Pair = { command: string; json: unknown; plain: string };

/** Plain commands followed at once by themselves as JSON, both of which succeeded. */
function transcriptPairs(pattern: RegExp): Pair[] {
  const records = ['a-pool', 'b-image'].flatMap((name) =>
    readFileSync(join(transcripts, `${name}.jsonl`), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { cmd?: string; rc?: number; stdout?: string }),
  );
  return records.flatMap((record, index) => {
    const next = records[index + 1];
    const isPair =
      record.rc === 0 && pattern.test(record.cmd ?? '') && next?.rc === 0 && next.cmd === record.cmd + jsonFlags;
    return isPair ? [{ command: record.cmd!, json: JSON.parse(next.stdout!), plain: record.stdout! }] : [];
  });
}

const renderers: Record<
  string,
  { pattern: RegExp; plain: (json: unknown, command: string) => string; pairsMin: number }
> = {
  info: { pattern: /^rbd --cluster \S+ info /, plain: (json) => plainInfo(infoShape.parse(json)), pairsMin: 7 },
  'ls -l': { pattern: / ls -l /, plain: (json) => plainListedImages(listedImagesShape.parse(json)), pairsMin: 1 },
  'snap ls --all': {
    pattern: / snap ls --all /,
    plain: (json) => plainSnapshots(snapshotsShape.parse(json), { all: true }),
    pairsMin: 6,
  },
  'mirror pool info': {
    pattern: / mirror pool info/,
    plain: (json, line) => plainPoolInfo(poolInfoShape.parse(json), { all: line.includes('--all') }),
    pairsMin: 10,
  },
  'mirror pool status': {
    pattern: / mirror pool status/,
    plain: (json) => plainPoolStatus(poolStatusShape.parse(json)),
    pairsMin: 6,
  },
  'mirror image status': {
    pattern: / mirror image status/,
    plain: (json) => plainImageStatus(imageStatusShape.parse(json)),
    pairsMin: 6,
  },
  'schedule ls -R': {
    pattern: / schedule ls .*-R$|schedule ls -R$/,
    plain: (json) => plainScheduleLevels(scheduleLevelsShape.parse(json)),
    pairsMin: 4,
  },
  'schedule ls': {
    pattern: / schedule ls( -p mirror( --image s1)?)?$/,
    plain: (json) => `${scheduleText(scheduleItemsShape.parse(json))}\n`,
    pairsMin: 3,
  },
  'schedule status': {
    pattern: / schedule status/,
    plain: (json) => plainScheduleStatus(scheduleStatusShape.parse(json)),
    pairsMin: 3,
  },
};

describe('plain text: as in the transcripts of a real rbd', () => {
  test.each(Object.entries(renderers))('%s', (_, { pattern, plain, pairsMin }) => {
    const pairs = transcriptPairs(pattern);
    expect(pairs.length).toBeGreaterThanOrEqual(pairsMin);
    for (const pair of pairs) expect(plain(pair.json, pair.command), pair.command).toBe(pair.plain);
  });
});

describe('plain text: without the transcripts', () => {
  test('ls -l: snapshots follow their image, with protection', () => {
    const images = [
      { image: 's1', id: 'a', size: 134217728, format: 2, lock_type: 'exclusive' },
      { image: 's1', id: 'a', snapshot: 'before', size: 134217728, format: 2, protected: 'true' },
    ];
    expect(plainListedImages(images)).toBe(
      'NAME       SIZE     PARENT  FMT  PROT  LOCK\ns1         128 MiB            2        excl\ns1@before  128 MiB            2  yes       \n',
    );
  });

  test('a scheduled mirror snapshot whose writer was not quiesced says so in one line, in both statuses', () => {
    const quiesce_error = 'EPERM: the database\nsaid no';
    const snapshots = [{ id: 4, name: 's4', demoted: false, mirror_peer_uuids: ['p'], quiesce_error }];
    expect(plainImageStatus({ name: 'vm', global_id: 'g', snapshots })).toContain(
      '    4 s4 (peer_uuids:[p]) not quiesced: EPERM: the database said no\n',
    );
    expect(plainScheduleStatus([{ schedule_time: '2026-11-23 07:30:00', image: 'rbd/vm', quiesce_error }])).toContain(
      'rbd/vm not quiesced: EPERM: the database said no',
    );
  });

  test('snap ls: nothing is printed when there is nothing', () => {
    expect(plainSnapshots([], { all: true })).toBe('');
  });

  test('snap ls: without --all there is no namespace column', () => {
    const snapshots = [
      { id: 4, name: 'before', size: 8388608, protected: 'true', timestamp: 'Mon Nov 23 07:06:11 2026' },
    ];
    expect(plainSnapshots(snapshots, { all: false })).toBe(
      'SNAPID  NAME    SIZE   PROTECTED  TIMESTAMP               \n     4  before  8 MiB  yes        Mon Nov 23 07:06:11 2026\n',
    );
  });

  test('snap ls --all: an unfinished copy says how far it is', () => {
    const namespace = {
      type: 'mirror',
      state: 'non-primary',
      mirror_peer_uuids: [],
      complete: false,
      primary_mirror_uuid: 'u',
      primary_snap_id: 5,
      last_copied_object_number: 8,
    };
    const snapshots = [{ id: 5, name: 'x', size: 0, protected: 'false', timestamp: '', namespace }];
    expect(plainSnapshots(snapshots, { all: true, objectCount: 32 })).toContain(
      'mirror (non-primary peer_uuids:[] u:5 25% copied)',
    );
    expect(plainSnapshots(snapshots, { all: true })).toContain('u:5 not copied)');
  });

  test('image-meta list: counts in the singular and the plural', () => {
    expect(plainMeta({})).toBe('There are 0 metadata on this image.\n');
    expect(plainMeta({ k: 'v' })).toBe('There is 1 metadatum on this image:\n\nKey  Value\nk    v    \n');
    expect(plainMeta({ k: 'v', longer: 'value 2' })).toBe(
      'There are 2 metadata on this image:\n\nKey     Value  \nk       v      \nlonger  value 2\n',
    );
  });

  test('du: the total appears when there is more than one line', () => {
    const head = { name: 's1', provisioned_size: 1 << 30, used_size: 0 };
    expect(plainUsage([head], { provisioned: 1 << 30, used: 0 })).toBe(
      'NAME  PROVISIONED  USED\ns1          1 GiB   0 B\n',
    );
    expect(plainUsage([{ ...head, snapshot: 'a', used_size: 1536 }, head], { provisioned: 1 << 30, used: 1536 })).toBe(
      'NAME     PROVISIONED  USED   \ns1@a           1 GiB  1.5 KiB\ns1             1 GiB      0 B\n<TOTAL>        1 GiB  1.5 KiB\n',
    );
  });

  test('tables: control characters in names do not break lines', () => {
    expect(plainMeta({ 'a\nb': 'c\u001b[1m' }).split('\n')).toHaveLength(5);
  });
});
