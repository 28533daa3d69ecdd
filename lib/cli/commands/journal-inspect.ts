// `journal inspect`: reads what is in the journal and not in the map, and verifies it.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { imageArgument } from '../parameters.ts';
import { unframed } from '../wording.ts';

export const journalInspect = defineCommand({
  path: 'journal inspect',
  summary: 'inspect an image journal for structural errors',
  arguments: { image: imageArgument },
  options: {},
  examples: ['farside journal inspect vm-1'],
  async run({ args, context }) {
    const client = await context.client();
    const { entries, errors } = await unframed(() => client.journal.inspect(args.image));
    for (const { object_number, error } of errors) context.output.line(`segment ${object_number}: ${error}`);
    context.output.line(`Summary:\n  ${entries} entries inspected, ${errors.length} errors`);
    if (errors.length > 0) throw new FarsideError('EBADMSG', 'the journal has errors');
  },
});
