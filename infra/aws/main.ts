// The CDK app, started by the CDK's command line (cdk.json): one site as one stack. Findings of cdk-nag that nobody has answered
// fail the synthesis.

import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { errnoOf, FarsideError } from '../../lib/errors.ts';
import { parseSettings } from './settings.ts';
import { SiteStack } from './site-stack.ts';

try {
  const app = new App({ analyticsReporting: false });
  const settings = parseSettings((name) => app.node.tryGetContext(name));
  new SiteStack(app, settings);
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
} catch (error) {
  if (!(error instanceof FarsideError)) throw error;
  process.stderr.write(`farside: ${error.message}\n`);
  process.exit(errnoOf[error.code]);
}
