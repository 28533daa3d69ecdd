// Owns how a finding of cdk-nag is answered: at the construct, by its id, with the reason why it stands. A finding that is not
// answered fails the synthesis (main.ts).

import { Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** `findings`: ids such as `AwsSolutions-S1`, or `IAM5[Resource::…]` for one of several. */
export function accept(construct: IConstruct, reason: string, ...findings: string[]): void {
  for (const finding of findings) Validations.of(construct).acknowledge({ id: `AwsSolutions-${finding}`, reason });
}
