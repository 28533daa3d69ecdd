// Owns the plain text of images and snapshots, as rbd prints it. Pure: shapes in, text out.

import type { ChangedRange } from '../../image/map/changes.ts';
import { formatBytes, formatSpec } from '../parse/grammar.ts';
import type {
  Children,
  Info,
  ListedImages,
  Locks,
  Options,
  ParentShape,
  PoolCounts,
  SiteOptions,
  Snapshots,
  Trash,
  Watchers,
} from '../client/shapes.ts';
import { oneLine, textTable, type Column } from './text-table.ts';
import type { Usage } from '../usage.ts';

export function plainInfo(info: Info): string {
  const lines = [
    `size ${formatBytes(info.size)} in ${info.objects} objects`,
    `order ${info.order} (${formatBytes(info.object_size)} objects)`,
    `snapshot_count: ${info.snapshot_count}`,
    `id: ${info.id}`,
    ...(info.data_pool === undefined ? [] : [`data_pool: ${info.data_pool}`]),
    `block_name_prefix: ${info.block_name_prefix}`,
    `format: ${info.format}`,
    `features: ${info.features.join(', ')}`,
    `op_features: ${info.op_features.join(', ')}`,
    `flags: ${info.flags.join(', ')}`,
    `create_timestamp: ${info.create_timestamp}`,
    `access_timestamp: ${info.access_timestamp}`,
    `modify_timestamp: ${info.modify_timestamp}`,
    ...(info.protected === undefined ? [] : [`protected: ${info.protected === 'true' ? 'True' : 'False'}`]),
    ...(info.snapshot_limit === undefined ? [] : [`snapshot_limit: ${info.snapshot_limit}`]),
    ...parentLines(info.parent),
    ...(info.journal === undefined ? [] : [`journal: ${info.journal}`]),
    ...mirroringLines(info.mirroring),
  ];
  return `rbd image '${info.name}':\n${lines.map((line) => `\t${line}\n`).join('')}`;
}

const pathText = (named: { pool: string; pool_namespace: string; image: string }): string =>
  formatSpec({ pool: named.pool, namespace: named.pool_namespace, image: named.image });

const inTrashText = ({ trash, id }: { trash: boolean; id: string }): string => (trash ? ` (trash ${id})` : '');

const parentText = (parent: ParentShape): string => `${pathText(parent)}@${parent.snapshot}`;

function parentLines(parent: Info['parent']): string[] {
  if (!parent) return [];
  return [`parent: ${parentText(parent)}${inTrashText(parent)}`, `overlap: ${formatBytes(parent.overlap)}`];
}

/** `children`: one a line. */
export const plainChildren = (children: Children): string =>
  children.map((child) => `${pathText(child)}${inTrashText(child)}\n`).join('');

function mirroringLines(mirroring: Info['mirroring']): string[] {
  if (!mirroring) return [];
  const { state, mode, global_id: globalId, primary } = mirroring;
  return [
    `mirroring state: ${state}`,
    ...(mode === undefined ? [] : [`mirroring mode: ${mode}`]),
    ...(globalId === undefined ? [] : [`mirroring global id: ${globalId}`]),
    ...(primary === undefined ? [] : [`mirroring primary: ${primary}`]),
  ];
}

const listColumns: Column[] = [
  { header: 'NAME' },
  { header: 'SIZE', align: 'right' },
  { header: 'PARENT' },
  { header: 'FMT', align: 'right' },
  { header: 'PROT' },
  { header: 'LOCK' },
];
const lockWords: Record<string, string> = { exclusive: 'excl', shared: 'shr' };

/** `ls -l`; nothing at all for an empty pool. */
export function plainListedImages(images: ListedImages): string {
  if (images.length === 0) return '';
  const rows = images.map((one) => [
    one.snapshot === undefined ? one.image : `${one.image}@${one.snapshot}`,
    formatBytes(one.size),
    one.parent ? parentText(one.parent) : '',
    String(one.format),
    one.protected === 'true' ? 'yes' : '',
    lockWords[one.lock_type ?? ''] ?? '',
  ]);
  return textTable(listColumns, rows);
}

/** `pool stats`; the trash is part of the totals. */
export function plainPoolStats({ images, trash }: { images: PoolCounts; trash: PoolCounts }): string {
  const line = (label: string, inAll: string, inTrash: string, isAny: boolean): string =>
    `${label}: ${inAll}${isAny ? ` (${inTrash} in trash)` : ''}\n`;
  const countLine = (label: string, key: 'count' | 'snap_count'): string =>
    line(label, String(images[key] + trash[key]), String(trash[key]), trash[key] > 0);
  const { provisioned_bytes: inTrash } = trash;
  const all = formatBytes(images.provisioned_bytes + inTrash);
  return [
    countLine('Total Images', 'count'),
    countLine('Total Snapshots', 'snap_count'),
    line('Provisioned Size', all, formatBytes(inTrash), inTrash > 0),
  ].join('');
}

/** `status`. */
export function plainWatchers({ watchers }: Watchers): string {
  if (watchers.length === 0) return 'Watchers: none\n';
  const lines = watchers.map(
    ({ address, client, cookie }) => `\twatcher=${address} client.${client} cookie=${cookie}\n`,
  );
  return `Watchers:\n${lines.join('')}`;
}

const lockColumns: Column[] = [{ header: 'Locker' }, { header: 'ID' }, { header: 'Address' }];

/** `lock ls`; nothing at all when nobody holds one. */
export function plainLocks({ type, tag, lockers }: Locks): string {
  if (lockers.length === 0) return '';
  const count = lockers.length === 1 ? `is 1 ${type} lock` : `are ${lockers.length} ${type} locks`;
  const tagLine = tag === undefined ? '' : `Lock tag: ${tag}\n`;
  const rows = lockers.map(({ locker, id, address }) => [locker, id, address]);
  return `There ${count} on this image.\n${tagLine}${textTable(lockColumns, rows)}`;
}

const snapshotColumns: Column[] = [
  { header: 'SNAPID', align: 'right' },
  { header: 'NAME' },
  { header: 'SIZE', align: 'right' },
  { header: 'PROTECTED' },
  { header: 'TIMESTAMP', align: 'right' },
];

/** `snap ls`; nothing at all when there are none. `objectCount`: of the image, to tell how far a copy is. */
export function plainSnapshots(snapshots: Snapshots, options: { all: boolean; objectCount?: number }): string {
  if (snapshots.length === 0) return '';
  const rows = snapshots.map((one) => [
    String(one.id),
    one.name,
    formatBytes(one.size),
    one.protected === 'true' ? 'yes' : '',
    one.timestamp,
    ...(options.all ? [namespaceText(one.namespace, options.objectCount)] : []),
  ]);
  return textTable(options.all ? [...snapshotColumns, { header: 'NAMESPACE' }] : snapshotColumns, rows);
}

function namespaceText(namespace: Snapshots[number]['namespace'], objectCount: number | undefined): string {
  if (namespace?.type === 'trash') return `trash (user ${namespace.original_name ?? ''})`;
  if (namespace?.type !== 'mirror') return namespace?.type ?? 'user';
  const peers = `peer_uuids:[${(namespace.mirror_peer_uuids ?? []).join(',')}]`;
  if (namespace.primary_snap_id === undefined) return `mirror (${namespace.state} ${peers})`;
  const source = `${namespace.primary_mirror_uuid ?? ''}:${namespace.primary_snap_id}`;
  return `mirror (${namespace.state} ${peers} ${source} ${copiedText(namespace, objectCount)})`;
}

function copiedText(
  namespace: { complete?: boolean | undefined; last_copied_object_number?: number | undefined },
  objectCount = 0,
): string {
  if (namespace.complete !== false) return 'copied';
  if (objectCount === 0) return 'not copied';
  return `${Math.min(100, Math.trunc((100 * (namespace.last_copied_object_number ?? 0)) / objectCount))}% copied`;
}

/** `trash ls`: id and name, a space between them. */
export const plainTrashNames = (images: Trash): string =>
  images.map(({ id, name }) => `${id} ${oneLine(name)}\n`).join('');

const trashColumns: Column[] = ['ID', 'NAME', 'SOURCE', 'DELETED_AT', 'STATUS', 'PARENT'].map((header) => ({ header }));

/** `trash ls -l`; nothing at all when it is empty. */
export const plainTrash = (images: Trash): string =>
  images.length === 0
    ? ''
    : textTable(
        trashColumns,
        images.map(({ id, name, source, deleted_at: deletedAt, status, parent }) => [
          id,
          name,
          source,
          deletedAt,
          status,
          parent ? parentText(parent) : '',
        ]),
      );

const diffColumns: Column[] = [{ header: 'Offset' }, { header: 'Length' }, { header: 'Type' }];

/** `diff`; nothing at all when nothing differs. */
export function plainDiff(ranges: readonly ChangedRange[]): string {
  if (ranges.length === 0) return '';
  return textTable(
    diffColumns,
    ranges.map(({ offset, length, exists }) => [String(offset), String(length), exists ? 'data' : 'zero']),
  );
}

export function plainMeta(meta: Readonly<Record<string, string>>): string {
  const entries = Object.entries(meta);
  const count = entries.length;
  const heading = `There ${count === 1 ? 'is' : 'are'} ${count} ${count === 1 ? 'metadatum' : 'metadata'} on this image${count === 0 ? '.' : ':'}\n`;
  return count === 0 ? heading : `${heading}\n${textTable([{ header: 'Key' }, { header: 'Value' }], entries)}`;
}

/** `config pool list`, `config image list`. */
export const plainOptions = (options: Options): string =>
  textTable(
    [{ header: 'Name' }, { header: 'Value' }, { header: 'Source' }],
    options.map(({ name, value, source }) => [name, value, source]),
  );

export const plainImageOptions = (options: Options): string =>
  `There ${options.length === 1 ? 'is 1 value' : `are ${options.length} values`}:\n${plainOptions(options)}`;

/** `config global list`; nothing at all when nothing is overridden. */
export const plainSiteOptions = (options: SiteOptions): string =>
  options.length === 0
    ? ''
    : textTable(
        [{ header: 'Name' }, { header: 'Value' }, { header: 'Section' }],
        options.map(({ name, value, section }) => [name, value, section]),
      );

/** `du`: the total's provisioned size counts heads only, its used size everything, as in rbd. */
export function plainUsage(
  usages: readonly Pick<Usage, 'name' | 'snapshot' | 'provisioned_size' | 'used_size'>[],
  total: { provisioned: number; used: number },
): string {
  if (usages.length === 0) return '';
  const rows = usages.map((one) => [
    one.snapshot === undefined ? one.name : `${one.name}@${one.snapshot}`,
    formatBytes(one.provisioned_size),
    formatBytes(one.used_size),
  ]);
  if (rows.length > 1) rows.push(['<TOTAL>', formatBytes(total.provisioned), formatBytes(total.used)]);
  return textTable(
    [{ header: 'NAME' }, { header: 'PROVISIONED', align: 'right' }, { header: 'USED', align: 'right' }],
    rows,
  );
}
