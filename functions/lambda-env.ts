// Owns what the Lambda functions of a site are given from outside: their environment, checked at cold start. A wrong variable
// is an EINVAL that names it and says what it must be, never its value.
//
// The functions, all in functions/lambda.ts, and what each must be given by whoever deploys them (infra):
//
//   http       function URL, payload version 2.0, AuthType NONE (farside's own bearer tokens), InvokeMode RESPONSE_STREAM
//   schedule   EventBridge Scheduler, every minute; a payload `{ "time": "<aws.scheduler.scheduled-time>" }` is used if given
//   consume    event source mappings of the queue and of its dead-letter queue, ReportBatchItemFailures, batches of at most 10.
//              The queue's maxReceiveCount is one more than deliverySettings.retriesMax (lib/site/delivery.ts)
//
// FARSIDE_SITE_URL may be left out for `http` alone, whose URL does not exist before the function does: it then uses the
// domain name of the request. AWS_REGION comes from Lambda itself.

import { z } from 'zod';
import { FarsideError } from '../lib/errors.ts';

const queueUrl = z.url({ protocol: /^https?$/, error: "must be the queue's URL" });
const flag = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');

const envSchema = z.object({
  FARSIDE_SITE_NAME: z.string('must be the name of the site').min(1, 'must be the name of the site'),
  FARSIDE_SITE_URL: z.url({ protocol: /^https?$/, error: 'must be the URL of the site' }).optional(),
  FARSIDE_BUCKET: z.string('must be the name of the bucket').min(1, 'must be the name of the bucket'),
  FARSIDE_QUEUE_URL: queueUrl,
  FARSIDE_DEAD_LETTER_QUEUE_URL: queueUrl,
  /** Where the site's secrets are (lambda-secrets.ts): an SSM parameter's name or ARN, or a Secrets Manager secret's ARN. */
  FARSIDE_SECRETS_PARAMETER: z.string('must name the SSM parameter or the secret').min(1, 'must name one'),
  /** Of `http` alone: where the admin token itself is, unless its hash is among the secrets. */
  FARSIDE_ADMIN_TOKEN_PARAMETER: z.string().optional(),
  /** Of an S3-compatible server; unset, AWS itself. */
  FARSIDE_S3_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be a URL' }).optional(),
  FARSIDE_S3_REGION: z.string().min(1).optional(),
  FARSIDE_S3_PATH_STYLE: flag.optional(),
  /** Whether peers and clients reach the S3 endpoint themselves (default: true of AWS, false of another); else all data goes through `http`. */
  FARSIDE_S3_DIRECT: flag.optional(),
  FARSIDE_SQS_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be a URL' }).optional(),
  FARSIDE_TUNING: z.string().optional(),
});
export type LambdaEnv = z.infer<typeof envSchema>;

/** Variables that are set but empty count as unset: a console and a template cannot always tell the two apart. */
export function parseLambdaEnv(env: Record<string, string | undefined>): LambdaEnv {
  const given = Object.fromEntries(Object.entries(env).filter(([, text]) => text !== undefined && text !== ''));
  const parsed = envSchema.safeParse(given);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`);
  throw new FarsideError(
    'EINVAL',
    `this site is not configured: ${faults.join('; ')} (environment variables of the function; the CDK app sets them)`,
  );
}
