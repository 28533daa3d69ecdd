// `object-map check`: an image's map is what its object map would be, so it is verified.

import { defineCommand } from '../command.ts';
import { imageOrSnapArgument } from '../parse/parameters.ts';
import { runMapCheck } from '../map-check.ts';

export const objectMapCheck = defineCommand({
  path: 'object-map check',
  summary: 'verify the object map is correct',
  description:
    'Every node of the map is read and verified, and every block that it names is looked for. The content of blocks is not read: export does that.',
  arguments: { image: imageOrSnapArgument },
  options: {},
  examples: ['farside object-map check vm-1'],
  run: ({ args, context }) => runMapCheck('check', args.image, context),
});
