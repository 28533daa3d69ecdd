// That the comparison notices: a comparison that finds nothing would make every transcript agree.

import { describe, expect, test } from 'vitest';
import { compareStep } from './compare.ts';
import { Identities } from './identities.ts';
import type { Step } from './recording.ts';
import { xmlDisagreement } from './xml-agrees.ts';

const uuids = ['71249ac3-c569-4c3d-a9d0-50c2f0482888', 'fe0ae286-d2a0-49c7-b39f-82f8500465e2'] as const;
const ours = ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002'] as const;

const recorded = (said: Partial<Step>): Step => ({
  recording: 'b-image',
  n: 1,
  atSeconds: 0,
  line: 'rbd info x',
  exitCode: 0,
  stdout: '',
  stderr: '',
  waits: false,
  ...said,
});

function differences(step: Partial<Step>, said: Partial<Step>, identities = new Identities()): string[] {
  const { exitCode, stdout, stderr } = recorded(said);
  return compareStep(recorded(step), { exitCode, stdout, stderr }, identities).map(({ where }) => where);
}

describe('a difference is noticed', () => {
  test('in the exit code', () => {
    expect(differences({ exitCode: 22 }, { exitCode: 0 })).toEqual(['exit code']);
  });

  test('in a line, a missing line, a line too many, a missing end of line', () => {
    expect(differences({ stdout: 'a\nb\n' }, { stdout: 'a\nc\n' })).toEqual(['line', 'line']);
    expect(differences({ stdout: 'a\nb\n' }, { stdout: 'b\n' })).toEqual(['line']);
    expect(differences({ stdout: 'b\n' }, { stdout: 'a\nb\n' })).toEqual(['line']);
    expect(differences({ stdout: 'IMAGES' }, { stdout: 'IMAGES\n' })).toEqual(['line', 'line']);
  });

  const json = { line: 'rbd info x --format json' };
  test('in JSON: a type, a value, a field, an element, the order, the layout', () => {
    const found = (expected: unknown, actual: unknown): string[] =>
      differences({ ...json, stdout: `${JSON.stringify(expected)}\n` }, { stdout: `${JSON.stringify(actual)}\n` });
    expect(found({ id: 4 }, { id: '4' })).toEqual(['$.id']);
    expect(found({ state: 'up+stopped' }, { state: 'up+replaying' })).toEqual(['$.state']);
    expect(found({ a: 1 }, {})).toEqual(['$.a']);
    expect(found({}, { a: 1 })).toEqual(['$.a']);
    expect(found(['a'], ['a', 'b'])).toEqual(['$[1]']);
    expect(found({ a: 1, b: 2 }, { b: 2, a: 1 })).toEqual(['order of $']);
    expect(differences({ ...json, stdout: '{"a":1}\n' }, { stdout: '{ "a": 1 }\n' })).toEqual(['layout of JSON']);
  });

  test('in the JSON of a description: a key, a type', () => {
    const line = (fields: string): Partial<Step> => ({ stdout: `  description: replaying, {${fields}}\n` });
    expect(differences(line('"bytes_per_second":1.5'), line('"bytes_per_second":2.0'))).toEqual([]);
    expect(differences(line('"bytes_per_second":1.5'), line('"bytes_per_second":2'))).toEqual(['line', 'line']);
    expect(differences(line('"bytes_per_second":1.5'), line('"bytes":1.5'))).toEqual(['line', 'line']);
  });

  test('in what rbd says on stderr, and when the reason of its log is not told', () => {
    const log =
      '2026-11-23T07:04:06.983+0000 7f1038c92380 -1 librbd::api::Mirror: mode_set: mirror peers still registered\n';
    expect(differences({ stderr: 'rbd: a\n' }, { stderr: 'farside: a\n' })).toEqual([]);
    expect(differences({ stderr: 'rbd: a\n' }, { stderr: 'farside: b\n' })).toEqual(['stderr', 'stderr']);
    expect(differences({ stderr: log }, { stderr: '' })).toEqual(['reason']);
    expect(differences({ stderr: log }, { stderr: 'farside: mirror peers still registered\n' })).toEqual([]);
    expect(
      differences({ stderr: `rbd: no${log}\n` }, { stderr: 'farside: no\nmirror peers still registered\n' }),
    ).toEqual([]);
  });

  test('when one recorded id is two here, or two are one', () => {
    const identities = new Identities();
    const line = (uuid: string): Partial<Step> => ({ stdout: `UUID: ${uuid}\n` });
    expect(differences(line(uuids[0]), line(ours[0]), identities)).toEqual([]);
    expect(differences(line(uuids[0]), line(ours[0]), identities)).toEqual([]);
    expect(differences(line(uuids[0]), line(ours[1]), identities)).toEqual(['line']);
    expect(differences(line(uuids[1]), line(ours[0]), identities)).toEqual(['line']);
    expect(identities.localize(`rbd peer remove ${uuids[0]}`)).toBe(`rbd peer remove ${ours[0]}`);
  });
});

test('XML that lacks an element, has another name or value, or other order is noticed', () => {
  const json = { name: 'a', peers: [{ uuid: 'u' }] };
  expect(xmlDisagreement(json, '<x><name>a</name><peers><peer><uuid>u</uuid></peer></peers></x>')).toBeUndefined();
  expect(xmlDisagreement(json, '<x><name>a</name><peers></peers></x>')).toBe('x/peers: 0 elements for 1');
  expect(xmlDisagreement(json, '<x><peers><peer><uuid>u</uuid></peer></peers><name>a</name></x>')).toBe('x/name');
  expect(xmlDisagreement(json, '<x><name>a</name><peers><peer><uuid>v</uuid></peer></peers></x>')).toBe(
    'x/peers/peer/uuid',
  );
});
