// Owns the plain text of the `journal` commands, as rbd's.

import type { JournalInfo, JournalStatus } from '../client/shapes.ts';

export const plainJournalInfo = ({
  journal_id,
  header_oid,
  object_oid_prefix,
  order,
  splay_width,
}: JournalInfo): string =>
  [
    `rbd journal '${journal_id}':`,
    `\theader_oid: ${header_oid}`,
    `\tobject_oid_prefix: ${object_oid_prefix}`,
    `\torder: ${order} (${2 ** (order - 20)} MiB objects)`,
    `\tsplay_width: ${splay_width}`,
    '',
  ].join('\n');

export function plainJournalStatus({ minimum_set, active_set, registered_clients }: JournalStatus): string {
  const clients = registered_clients.map(({ id, commit_position, state }) => {
    const positions = commit_position.object_positions.map(
      (one) => `[object_number=${one.object_number}, tag_tid=${one.tag_tid}, entry_tid=${one.entry_tid}]`,
    );
    return `\t[id=${id}, commit_position=[positions=[${positions.join(', ')}]], state=${state}]`;
  });
  return [`minimum_set: ${minimum_set}`, `active_set: ${active_set}`, 'registered clients: ', ...clients, ''].join(
    '\n',
  );
}
