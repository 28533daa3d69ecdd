// `trash move`: removes an image so that it can be had back.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { parseTimeMs } from '../parse/dates.ts';
import { imageArgument, textOption } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

export const trashMove = defineCommand({
  path: 'trash move',
  aliases: ['mv'],
  summary: 'move an image to the trash',
  description:
    'Its name is free at once. A mirrored primary takes its replicas with it, and comes back unmirrored. Until the expiration time only --force removes it from the trash.',
  arguments: { image: imageArgument },
  options: {
    expiresAt: textOption(
      '--expires-at <date>',
      'when `trash purge` may remove it, as date(1) reads it (default: now)',
    ),
  },
  examples: ['farside trash mv vm-1', 'farside trash mv backup/vm-1 --expires-at tomorrow'],
  async run({ args: { image }, options, context }) {
    const nowMs = context.terminal.clock.nowMs();
    const expiresAtMs = options.expiresAt === undefined ? nowMs : await parseTimeMs(options.expiresAt, nowMs);
    if (expiresAtMs < Math.floor(nowMs / 1000) * 1000)
      throw new FarsideError('EINVAL', 'cannot use a date in the past as an expiration date');
    const delaySeconds = Math.max(0, Math.round((expiresAtMs - nowMs) / 1000));
    const client = await context.client();
    await framed({ text: 'deferred delete error', errno: true, opensNothing: true }, () =>
      client.trash.move(image, delaySeconds),
    );
  },
});
