// `token create`: access for another client. The token is shown here and never again.

import { FarsideError } from '../../errors.ts';
import { invalidOption } from '../parse/grammar.ts';
import { defineReport } from '../command.ts';
import { parsedOption, textOption } from '../parse/parameters.ts';
import { unframed } from '../output/wording.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const scopeForms = 'admin | pool:<pool-name>';

export const tokenCreate = defineReport({
  path: 'token create',
  summary: 'create an access token',
  description:
    'An admin token may do everything at this site; a pool token may use the images of that pool. The token is printed once: the site keeps only its hash.',
  arguments: {},
  options: {
    scope: textOption('--scope <scope>', `what the token may do: ${scopeForms}`),
    expiresIn: parsedOption(
      '--expires-in <time>',
      'how long it is good for, as 12h or 90d (default: until it is removed)',
      parseSeconds,
    ),
  },
  xml: xmlShapes.token,
  examples: [
    'farside token create --scope pool:rbd > rbd.token',
    'farside --cluster site-b token create --scope admin --expires-in 12h --format json',
  ],
  async run({ options, context, report }) {
    if (options.scope === undefined)
      throw new FarsideError('EINVAL', `the scope was not specified: give --scope ${scopeForms}`);
    const { scope, expiresIn } = options;
    const client = await context.client();
    const value = await unframed(() =>
      client.createToken({ scope, ...(expiresIn === undefined ? {} : { expiresInSeconds: expiresIn }) }),
    );
    report({ value, plain: () => `${value.token}\n` });
  },
});

const secondsOf = { m: 60, h: 3600, d: 86_400 } as const;

function parseSeconds(text: string): number {
  const [, digits, unit] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  if (digits === undefined || Number(digits) === 0) throw invalidOption('--expires-in');
  return Number(digits) * secondsOf[unit as keyof typeof secondsOf];
}
