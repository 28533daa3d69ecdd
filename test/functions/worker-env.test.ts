import { expect, test } from 'vitest';
import { parseEnv } from '../../functions/worker-env.ts';

const secret = Buffer.alloc(32, 7).toString('base64');
const complete = {
  BUCKET: { put: () => undefined },
  QUEUE: { sendBatch: () => undefined },
  SITE_NAME: 'site-a',
  SITE_URL: 'https://site-a.example',
  DEAD_LETTER_QUEUE: 'dead',
  FARSIDE_ADMIN_TOKEN_HASH: 'ab'.repeat(32),
  FARSIDE_SECRET: secret,
};

test('a complete environment is accepted as it is', () => {
  expect(parseEnv(complete)).toMatchObject({ SITE_NAME: 'site-a', FARSIDE_SECRET: secret });
});

test.each(Object.keys(complete))('without %s the failure is EINVAL and names it', (name) => {
  expect(() => parseEnv({ ...complete, [name]: undefined })).toThrow(new RegExp(`not configured: ${name} `));
});

test('a secret that is too short is refused without being told', () => {
  const short = 'c2hvcnQgc2VjcmV0';
  expect(() => parseEnv({ ...complete, FARSIDE_SECRET: short })).toThrow(
    'FARSIDE_SECRET must be at least 32 random bytes, in base64 (wrangler secret put FARSIDE_SECRET)',
  );
  expect(() => parseEnv({ ...complete, FARSIDE_SECRET: short })).not.toThrow(short);
});
