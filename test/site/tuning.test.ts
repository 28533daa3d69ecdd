import { expect, test } from 'vitest';
import { parseTuning } from '../../lib/site/tuning.ts';

test('unset tuning changes nothing', () => {
  expect([parseTuning(undefined), parseTuning(''), parseTuning('{}')]).toEqual([{}, {}, {}]);
});

test('some limits and settings may be given', () => {
  const text = '{"limits":{"piecePacksMax":2},"settings":{"packBytes":65536}}';
  expect(parseTuning(text)).toEqual({ limits: { piecePacksMax: 2 }, settings: { packBytes: 65_536 } });
});

test.each(['x', '[]', '{"limits":{"noSuchLimit":1}}', '{"settings":{"packBytes":"1"}}', '{"other":{}}'])(
  '%s is refused with EINVAL',
  (text) => {
    expect(() => parseTuning(text)).toThrow('FARSIDE_TUNING is malformed');
  },
);
