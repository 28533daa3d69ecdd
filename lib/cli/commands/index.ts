// The list of all commands: a command exists when it is named here. One file per command, named after its words.

import type { Command } from '../command.ts';
import { children } from './children.ts';
import { bench } from './bench.ts';
import { clone } from './clone.ts';
import { collect } from './collect.ts';
import { configGlobalGet } from './config-global-get.ts';
import { configGlobalList } from './config-global-list.ts';
import { configGlobalRemove } from './config-global-remove.ts';
import { configGlobalSet } from './config-global-set.ts';
import { configImageGet } from './config-image-get.ts';
import { configImageList } from './config-image-list.ts';
import { configImageRemove } from './config-image-remove.ts';
import { configImageSet } from './config-image-set.ts';
import { configPoolGet } from './config-pool-get.ts';
import { configPoolList } from './config-pool-list.ts';
import { configPoolRemove } from './config-pool-remove.ts';
import { configPoolSet } from './config-pool-set.ts';
import { copy } from './copy.ts';
import { create } from './create.ts';
import { deepCopy } from './deep-copy.ts';
import { deviceList } from './device-list.ts';
import { deviceMap } from './device-map.ts';
import { deviceUnmap } from './device-unmap.ts';
import { diff } from './diff.ts';
import { diskUsage } from './disk-usage.ts';
import { exportDiff } from './export-diff.ts';
import { exportCommand } from './export.ts';
import { featureDisable } from './feature-disable.ts';
import { featureEnable } from './feature-enable.ts';
import { flatten } from './flatten.ts';
import { imageMetaGet } from './image-meta-get.ts';
import { imageMetaList } from './image-meta-list.ts';
import { imageMetaRemove } from './image-meta-remove.ts';
import { imageMetaSet } from './image-meta-set.ts';
import { importDiff } from './import-diff.ts';
import { importCommand } from './import.ts';
import { info } from './info.ts';
import { list } from './list.ts';
import { journalClientDisconnect } from './journal-client-disconnect.ts';
import { journalExport } from './journal-export.ts';
import { journalImport } from './journal-import.ts';
import { journalInfo } from './journal-info.ts';
import { journalInspect } from './journal-inspect.ts';
import { journalReset } from './journal-reset.ts';
import { journalStatus } from './journal-status.ts';
import { lockAdd } from './lock-add.ts';
import { lockList } from './lock-list.ts';
import { lockRemove } from './lock-remove.ts';
import { mergeDiff } from './merge-diff.ts';
import { mirrorImageDemote } from './mirror-image-demote.ts';
import { mirrorImageDisable } from './mirror-image-disable.ts';
import { mirrorImageEnable } from './mirror-image-enable.ts';
import { mirrorImagePromote } from './mirror-image-promote.ts';
import { mirrorImageResync } from './mirror-image-resync.ts';
import { mirrorImageRetentionGet } from './mirror-image-retention-get.ts';
import { mirrorImageRetentionRemove } from './mirror-image-retention-remove.ts';
import { mirrorImageRetentionSet } from './mirror-image-retention-set.ts';
import { mirrorImageSnapshot } from './mirror-image-snapshot.ts';
import { mirrorImageStatus } from './mirror-image-status.ts';
import { mirrorImageTestFailover } from './mirror-image-test-failover.ts';
import { mirrorPoolDemote } from './mirror-pool-demote.ts';
import { mirrorPoolDisable } from './mirror-pool-disable.ts';
import { mirrorPoolEnable } from './mirror-pool-enable.ts';
import { mirrorPoolInfo } from './mirror-pool-info.ts';
import { mirrorPoolPeerAdd } from './mirror-pool-peer-add.ts';
import { mirrorPoolPeerBootstrapCreate } from './mirror-pool-peer-bootstrap-create.ts';
import { mirrorPoolPeerBootstrapImport } from './mirror-pool-peer-bootstrap-import.ts';
import { mirrorPoolPeerRemove } from './mirror-pool-peer-remove.ts';
import { mirrorPoolPeerSet } from './mirror-pool-peer-set.ts';
import { mirrorPoolPromote } from './mirror-pool-promote.ts';
import { mirrorPoolRetentionGet } from './mirror-pool-retention-get.ts';
import { mirrorPoolRetentionRemove } from './mirror-pool-retention-remove.ts';
import { mirrorPoolRetentionSet } from './mirror-pool-retention-set.ts';
import { mirrorPoolStatus } from './mirror-pool-status.ts';
import { mirrorSnapshotScheduleAdd } from './mirror-snapshot-schedule-add.ts';
import { mirrorSnapshotScheduleList } from './mirror-snapshot-schedule-list.ts';
import { mirrorSnapshotScheduleRemove } from './mirror-snapshot-schedule-remove.ts';
import { mirrorSnapshotScheduleStatus } from './mirror-snapshot-schedule-status.ts';
import { namespaceCreate } from './namespace-create.ts';
import { namespaceList } from './namespace-list.ts';
import { namespaceRemove } from './namespace-remove.ts';
import { nbdServe } from './nbd-serve.ts';
import { objectMapCheck } from './object-map-check.ts';
import { objectMapRebuild } from './object-map-rebuild.ts';
import { poolCreate } from './pool-create.ts';
import { poolInit } from './pool-init.ts';
import { poolList } from './pool-list.ts';
import { poolRemove } from './pool-remove.ts';
import { poolStats } from './pool-stats.ts';
import { queueList } from './queue-list.ts';
import { queuePurge } from './queue-purge.ts';
import { queueRetry } from './queue-retry.ts';
import { remove } from './remove.ts';
import { rename } from './rename.ts';
import { resize } from './resize.ts';
import { siteAdd } from './site-add.ts';
import { siteInfo } from './site-info.ts';
import { siteLs } from './site-ls.ts';
import { siteRemove } from './site-remove.ts';
import { siteStart } from './site-start.ts';
import { siteStop } from './site-stop.ts';
import { snapCreate } from './snap-create.ts';
import { snapLimitClear } from './snap-limit-clear.ts';
import { snapLimitSet } from './snap-limit-set.ts';
import { snapList } from './snap-list.ts';
import { snapProtect } from './snap-protect.ts';
import { snapPurge } from './snap-purge.ts';
import { snapRemove } from './snap-remove.ts';
import { snapRename } from './snap-rename.ts';
import { snapRollback } from './snap-rollback.ts';
import { snapUnprotect } from './snap-unprotect.ts';
import { sparsify } from './sparsify.ts';
import { status } from './status.ts';
import { tokenCreate } from './token-create.ts';
import { tokenList } from './token-list.ts';
import { tokenRemove } from './token-remove.ts';
import { trashList } from './trash-list.ts';
import { trashMove } from './trash-move.ts';
import { trashPurge } from './trash-purge.ts';
import { trashPurgeScheduleAdd } from './trash-purge-schedule-add.ts';
import { trashPurgeScheduleList } from './trash-purge-schedule-list.ts';
import { trashPurgeScheduleRemove } from './trash-purge-schedule-remove.ts';
import { trashPurgeScheduleStatus } from './trash-purge-schedule-status.ts';
import { trashRemove } from './trash-remove.ts';
import { trashRestore } from './trash-restore.ts';

export const commands: readonly Command[] = [
  bench,
  children,
  clone,
  collect,
  configGlobalGet,
  configGlobalList,
  configGlobalRemove,
  configGlobalSet,
  configImageGet,
  configImageList,
  configImageRemove,
  configImageSet,
  configPoolGet,
  configPoolList,
  configPoolRemove,
  configPoolSet,
  copy,
  create,
  deepCopy,
  deviceList,
  deviceMap,
  deviceUnmap,
  diff,
  diskUsage,
  exportCommand,
  exportDiff,
  featureDisable,
  featureEnable,
  flatten,
  imageMetaGet,
  imageMetaList,
  imageMetaRemove,
  imageMetaSet,
  importCommand,
  importDiff,
  info,
  journalClientDisconnect,
  journalExport,
  journalImport,
  journalInfo,
  journalInspect,
  journalReset,
  journalStatus,
  list,
  lockAdd,
  lockList,
  lockRemove,
  mergeDiff,
  mirrorImageDemote,
  mirrorImageDisable,
  mirrorImageEnable,
  mirrorImagePromote,
  mirrorImageResync,
  mirrorImageRetentionGet,
  mirrorImageRetentionRemove,
  mirrorImageRetentionSet,
  mirrorImageSnapshot,
  mirrorImageStatus,
  mirrorImageTestFailover,
  mirrorPoolDemote,
  mirrorPoolDisable,
  mirrorPoolEnable,
  mirrorPoolInfo,
  mirrorPoolPeerAdd,
  mirrorPoolPeerBootstrapCreate,
  mirrorPoolPeerBootstrapImport,
  mirrorPoolPeerRemove,
  mirrorPoolPeerSet,
  mirrorPoolPromote,
  mirrorPoolRetentionGet,
  mirrorPoolRetentionRemove,
  mirrorPoolRetentionSet,
  mirrorPoolStatus,
  mirrorSnapshotScheduleAdd,
  mirrorSnapshotScheduleList,
  mirrorSnapshotScheduleRemove,
  mirrorSnapshotScheduleStatus,
  namespaceCreate,
  namespaceList,
  namespaceRemove,
  nbdServe,
  objectMapCheck,
  objectMapRebuild,
  poolCreate,
  poolInit,
  poolList,
  poolRemove,
  poolStats,
  queueList,
  queuePurge,
  queueRetry,
  remove,
  rename,
  resize,
  siteAdd,
  siteInfo,
  siteLs,
  siteRemove,
  siteStart,
  siteStop,
  snapCreate,
  snapLimitClear,
  snapLimitSet,
  snapList,
  snapProtect,
  snapPurge,
  snapRemove,
  snapRename,
  snapRollback,
  snapUnprotect,
  sparsify,
  status,
  tokenCreate,
  tokenList,
  tokenRemove,
  trashList,
  trashMove,
  trashPurge,
  trashPurgeScheduleAdd,
  trashPurgeScheduleList,
  trashPurgeScheduleRemove,
  trashPurgeScheduleStatus,
  trashRemove,
  trashRestore,
];
