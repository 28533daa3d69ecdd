// Owns where a site on AWS has its secrets from, at cold start: `{ "adminTokenHash": …, "secret": … }` in a secret of Secrets
// Manager, named by its ARN, or in a SecureString parameter of Systems Manager. CloudFormation can make the first and not the
// second; the second is free of charge.
//
// Secrets Manager can draw a token but not its hash. So the hash may be left out, and the admin token then has a secret of its own,
// which the one function that answers users may read; its text is not kept.

import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { z } from 'zod';
import { FarsideError } from '../lib/errors.ts';
import { parseJson } from '../lib/json.ts';
import { tokenHash } from '../lib/site/auth.ts';
import type { LambdaEnv } from './lambda-env.ts';

/** Of hexadecimal digits: 128 bits. */
const tokenCharsMin = 32;

const secretsSchema = z.object({
  adminTokenHash: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be the SHA-256 of the admin token, in hex')
    .optional(),
  secret: z.base64().min(44, 'must be at least 32 random bytes, in base64'),
});
/** Without `adminTokenHash` there is no admin: for functions that answer nobody. */
export type LambdaSecrets = z.infer<typeof secretsSchema>;

type Places = Pick<LambdaEnv, 'FARSIDE_SECRETS_PARAMETER' | 'FARSIDE_ADMIN_TOKEN_PARAMETER'>;

/** EACCES or EINVAL naming the parameter, never what is in it. */
export async function readSecrets(places: Places): Promise<LambdaSecrets> {
  const secrets = await readJson(places.FARSIDE_SECRETS_PARAMETER);
  const name = places.FARSIDE_ADMIN_TOKEN_PARAMETER;
  return name === undefined ? secrets : { ...secrets, adminTokenHash: tokenHash(await readToken(name)) };
}

async function readToken(name: string): Promise<string> {
  const token = (await readText(name))?.trim() ?? '';
  if (token.length >= tokenCharsMin) return token;
  throw new FarsideError('EINVAL', `the admin token in ${name} has less than ${tokenCharsMin} characters`);
}

async function readJson(name: string): Promise<LambdaSecrets> {
  const text = await readText(name);
  const parsed = secretsSchema.safeParse(parseJson(text ?? ''));
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'the whole'} ${message}`);
  throw new FarsideError('EINVAL', `the site's secrets in ${name} are malformed: ${faults.join('; ')}`);
}

const isSecretArn = (name: string): boolean => /^arn:[\w-]+:secretsmanager:/.test(name);

async function readText(name: string): Promise<string | undefined> {
  try {
    return await (isSecretArn(name) ? readSecret(name) : readParameter(name));
  } catch (cause) {
    const why = cause instanceof Error ? cause.name : String(cause);
    throw new FarsideError(
      'EACCES',
      `the site's secrets in ${name} cannot be read: ${why}; may this function's role?`,
      {
        retry: 'later',
        cause,
      },
    );
  }
}

async function readSecret(arn: string): Promise<string | undefined> {
  return (await new SecretsManagerClient().send(new GetSecretValueCommand({ SecretId: arn }))).SecretString;
}

async function readParameter(name: string): Promise<string | undefined> {
  const command = new GetParameterCommand({ Name: name, WithDecryption: true });
  return (await new SSMClient().send(command)).Parameter?.Value;
}
