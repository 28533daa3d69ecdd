import { expect, test } from 'vitest';

import { parseSettings } from '../../infra/aws/settings.ts';

const parse = (context: Record<string, unknown>) => parseSettings((name) => context[name]);

test('a site needs a name and nothing else', () => {
  expect(parse({ site: 'site-a' })).toEqual({ site: 'site-a', objectLockMode: 'governance', rpoMinutes: 15 });
});

test('context is text on the command line and may be typed in a file', () => {
  expect(
    parse({ site: 'a', objectLockDays: '30', rpoMinutes: 60, siteUrl: 'https://farside.example.com/' }),
  ).toMatchObject({
    objectLockDays: 30,
    rpoMinutes: 60,
    siteUrl: 'https://farside.example.com',
  });
});

test.each([
  [{}, 'site is missing'],
  [{ site: 'Site_A' }, 'site must be'],
  [{ site: 'a-' }, 'site must be'],
  [{ site: 'a', siteUrl: 'http://farside.example.com' }, 'siteUrl must begin with https://'],
  [{ site: 'a', objectLockDays: '1.5' }, 'objectLockDays must be whole days'],
  [{ site: 'a', objectLockMode: 'forever' }, 'objectLockMode must be'],
  [{ site: 'a', rpoMinutes: '1441' }, 'rpoMinutes'],
  [{ site: 'a', alarmEmail: 'ops' }, 'alarmEmail must be an e-mail address'],
  [{ site: 'a', httpConcurrencyMax: '0' }, 'httpConcurrencyMax'],
  [{ site: 'a', tuning: '{"limits":{"unknown":1}}' }, 'tuning is not what'],
])('%o is refused with a sentence: %s', (context, sentence) => {
  expect(() => parse(context)).toThrow(
    expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining(sentence) as string }),
  );
});
