import { expect, test } from 'vitest';
import { parseLambdaEnv } from '../../functions/lambda-env.ts';

const complete = {
  FARSIDE_SITE_NAME: 'site-b',
  FARSIDE_SITE_URL: 'https://abc.lambda-url.eu-central-1.on.aws',
  FARSIDE_BUCKET: 'farside-site-b',
  FARSIDE_QUEUE_URL: 'https://sqs.eu-central-1.amazonaws.com/123456789012/farside-site-b',
  FARSIDE_DEAD_LETTER_QUEUE_URL: 'https://sqs.eu-central-1.amazonaws.com/123456789012/farside-site-b-dead',
  FARSIDE_SECRETS_PARAMETER: '/farside/site-b',
};

test('a complete environment is accepted as it is', () => {
  expect(parseLambdaEnv({ ...complete, PATH: '/bin' })).toEqual(complete);
});

test('the function URL is not known before the function: http goes without it', () => {
  expect(parseLambdaEnv({ ...complete, FARSIDE_SITE_URL: '' }).FARSIDE_SITE_URL).toBeUndefined();
});

test.each(Object.keys(complete).filter((name) => name !== 'FARSIDE_SITE_URL'))(
  'without %s the failure is EINVAL and names it',
  (name) => {
    expect(() => parseLambdaEnv({ ...complete, [name]: undefined })).toThrow(
      expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining(`not configured: ${name} must `) }),
    );
  },
);

test.each([
  ['FARSIDE_SITE_URL', 'site-b.example'],
  ['FARSIDE_QUEUE_URL', 'arn:aws:sqs:eu-central-1:123456789012:farside-site-b'],
  ['FARSIDE_S3_ENDPOINT', 'localhost:7480'],
  ['FARSIDE_S3_PATH_STYLE', 'yes'],
])('a malformed %s is refused by name, and its value is not repeated', (name, value) => {
  const parse = () => parseLambdaEnv({ ...complete, [name]: value });
  expect(parse).toThrow(new RegExp(`${name} must`));
  expect(parse).not.toThrow(value);
});

test('path style is a flag', () => {
  expect(parseLambdaEnv({ ...complete, FARSIDE_S3_PATH_STYLE: 'true' }).FARSIDE_S3_PATH_STYLE).toBe(true);
  expect(parseLambdaEnv({ ...complete, FARSIDE_S3_PATH_STYLE: 'false' }).FARSIDE_S3_PATH_STYLE).toBe(false);
});
