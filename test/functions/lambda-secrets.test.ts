import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readSecrets } from '../../functions/lambda-secrets.ts';

const secrets = { adminTokenHash: 'ab'.repeat(32), secret: Buffer.alloc(32, 7).toString('base64') };
const token = 'T'.repeat(64);
const read = (name: string, tokenName?: string) =>
  readSecrets({ FARSIDE_SECRETS_PARAMETER: name, FARSIDE_ADMIN_TOKEN_PARAMETER: tokenName });
const arn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:farside/site-b-AbCdEf';

/** What the two services answer, by the operation that the real SDK asks for and the name in its request. */
const answers: Record<string, (request: Record<string, unknown>) => object | undefined> = {
  'secretsmanager.GetSecretValue': ({ SecretId }) =>
    SecretId === arn ? { SecretString: JSON.stringify(secrets) } : undefined,
  'AmazonSSM.GetParameter': ({ Name, WithDecryption }) => {
    if (Name === '/farside/token') return { Parameter: { Value: `${token}\n` } };
    if (Name === '/farside/weak') return { Parameter: { Value: 'hunter2' } };
    if (Name === '/farside/drawn') return { Parameter: { Value: JSON.stringify({ secret: secrets.secret }) } };
    if (Name === '/farside/short') return { Parameter: { Value: JSON.stringify({ ...secrets, secret: 'c2hvcnQ=' }) } };
    return Name === '/farside/site-b' && WithDecryption ? { Parameter: { Value: JSON.stringify(secrets) } } : undefined;
  },
};

let server: Server;
beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const found = answers[String(request.headers['x-amz-target'])]?.(JSON.parse(Buffer.concat(chunks).toString()));
      response.writeHead(found ? 200 : 400, { 'content-type': 'application/x-amz-json-1.1' });
      response.end(JSON.stringify(found ?? { __type: 'AccessDeniedException', message: 'no' }));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  vi.stubEnv('AWS_ENDPOINT_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  vi.stubEnv('AWS_REGION', 'eu-central-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AK');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'SK');
});
afterAll(() => {
  vi.unstubAllEnvs();
  server.close();
});

test('the ARN of a secret is asked of Secrets Manager, any other name of Systems Manager, decrypted', async () => {
  expect(await read(arn)).toEqual(secrets);
  expect(await read('/farside/site-b')).toEqual(secrets);
});

test('secrets that may not be read are EACCES naming them, to be tried again', async () => {
  await expect(read('/farside/other')).rejects.toMatchObject({
    code: 'EACCES',
    retry: 'later',
    message: expect.stringContaining('/farside/other cannot be read: AccessDeniedException'),
  });
});

test('malformed secrets are EINVAL saying what is wrong, without what is in them', async () => {
  const reading = read('/farside/short');
  await expect(reading).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringContaining('secret must be') });
  await expect(reading).rejects.not.toMatchObject({ message: expect.stringContaining('c2hvcnQ=') });
});

test('of an admin token with a place of its own the hash is kept, and comes before one among the secrets', async () => {
  const adminTokenHash = createHash('sha256').update(token).digest('hex');
  const drawn = { secret: secrets.secret };
  expect(await read('/farside/drawn')).toEqual(drawn);
  expect(await read('/farside/drawn', '/farside/token')).toEqual({ ...drawn, adminTokenHash });
  expect(await read(arn, '/farside/token')).toEqual({ ...drawn, adminTokenHash });
  const weak = read(arn, '/farside/weak');
  await expect(weak).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringContaining('/farside/weak') });
  await expect(weak).rejects.not.toMatchObject({ message: expect.stringContaining('hunter2') });
});
