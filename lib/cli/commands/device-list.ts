// `device ls`: which images this machine serves over NBD.

import { defineReport } from '../command.ts';
import { listServers, type Server } from '../nbd/devices.ts';
import { textTable } from '../output/text-table.ts';
import { xmlShapes } from '../output/xml-shapes.ts';

const columns = (['id', 'pool', 'namespace', 'image', 'snap', 'device'] as const).map((header) => ({ header }));

/** rbd's keys; `device` is where clients find it, since no device of the kernel need be involved. */
const rowsOf = ({ pid, site, exports }: Server) =>
  exports.map(({ pool, namespace, image, snap = '-', uri }) => ({
    id: pid,
    pool,
    namespace,
    image,
    snap,
    device: uri,
    site,
  }));

export const deviceList = defineReport({
  path: 'device list',
  aliases: ['ls'],
  summary: 'list the images that are served on this machine',
  description: "Those that 'farside nbd serve' serves for this user, of every site. The id is that of the process.",
  arguments: {},
  options: {},
  xml: xmlShapes.devices,
  examples: ['farside device ls', 'farside device list --format json'],
  async run({ context, report }) {
    const value = (await listServers(context.home)).flatMap(rowsOf);
    const rows = value.map((one) => columns.map(({ header }) => String(one[header])));
    report({ value, plain: () => (rows.length === 0 ? '' : textTable(columns, rows)) });
  },
});
