// The Lambda functions of a site: three handlers over one environment. lambda-env.ts says what each must be given.

import { lambdaHandlers } from './lambda-handlers.ts';
import { readSecrets } from './lambda-secrets.ts';
import { SqsClient } from './sqs-api.ts';

export const { http, schedule, consume } = lambdaHandlers({
  env: process.env,
  readSecrets,
  openSqs: ({ FARSIDE_SQS_ENDPOINT }) => new SqsClient({ endpoint: FARSIDE_SQS_ENDPOINT }),
  log: (line) => console.error(line),
  metric: (line) => void process.stdout.write(`${line}\n`),
});
