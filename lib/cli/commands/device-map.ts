// `device map`: the command line that makes a served image a block device of this machine's kernel. It runs nothing: that takes root.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { formatSpec } from '../parse/grammar.ts';
import { nbdClientCommand } from '../nbd/hints.ts';
import { choiceOption, imageOrSnapArgument, integerOption, textOption } from '../parse/parameters.ts';

export const deviceMap = defineCommand({
  path: 'device map',
  summary: 'print the command that maps a served image to a block device',
  description:
    "The image is served by 'farside nbd serve'; the printed command is run by root, and 'nbd-client -d /dev/nbd0' unmaps it again. Nothing is changed here.",
  arguments: { image: imageOrSnapArgument },
  options: {
    deviceType: choiceOption('-t, --device-type <type>', 'device type (default: nbd)', ['nbd']),
    device: textOption('--device <path>', 'block device (default: /dev/nbd0)'),
    host: textOption('--host <host>', 'where it is served (default: 127.0.0.1)'),
    port: integerOption('--port <port>', 'port where it is served (default: 10809)', { min: 1, max: 65_535 }),
    unix: textOption('--unix <path>', 'Unix socket where it is served'),
  },
  examples: [
    'farside device map vm-1',
    'farside device map vm-1@before --unix /run/farside/nbd.sock --device /dev/nbd3',
  ],
  async run({ args: { image }, options: { device, host, port, unix }, context }) {
    if (unix !== undefined && (host !== undefined || port !== undefined))
      throw new FarsideError('EINVAL', '--unix is instead of --host and --port');
    const address = unix === undefined ? { host: host ?? '127.0.0.1', port: port ?? 10_809 } : { path: unix };
    context.output.line(nbdClientCommand(formatSpec(image), address, device));
  },
});
