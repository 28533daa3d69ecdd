// The list of all commands: a command exists when it is named here. One file per command, named after its words.
//
// A command is loaded when the words of a command line may mean it: to load all takes longer than most of them run.

import type { Command } from '../command.ts';

/** By the words that choose it, with the other last words behind bars. */
const loaders: Readonly<Record<string, () => Promise<Command>>> = {
  bench: async () => (await import('./bench.ts')).bench,
  children: async () => (await import('./children.ts')).children,
  clone: async () => (await import('./clone.ts')).clone,
  collect: async () => (await import('./collect.ts')).collect,
  'config global get': async () => (await import('./config-global-get.ts')).configGlobalGet,
  'config global list|ls': async () => (await import('./config-global-list.ts')).configGlobalList,
  'config global remove|rm': async () => (await import('./config-global-remove.ts')).configGlobalRemove,
  'config global set': async () => (await import('./config-global-set.ts')).configGlobalSet,
  'config image get': async () => (await import('./config-image-get.ts')).configImageGet,
  'config image list|ls': async () => (await import('./config-image-list.ts')).configImageList,
  'config image remove|rm': async () => (await import('./config-image-remove.ts')).configImageRemove,
  'config image set': async () => (await import('./config-image-set.ts')).configImageSet,
  'config pool get': async () => (await import('./config-pool-get.ts')).configPoolGet,
  'config pool list|ls': async () => (await import('./config-pool-list.ts')).configPoolList,
  'config pool remove|rm': async () => (await import('./config-pool-remove.ts')).configPoolRemove,
  'config pool set': async () => (await import('./config-pool-set.ts')).configPoolSet,
  'copy|cp': async () => (await import('./copy.ts')).copy,
  create: async () => (await import('./create.ts')).create,
  'deep copy|cp': async () => (await import('./deep-copy.ts')).deepCopy,
  'device list|ls': async () => (await import('./device-list.ts')).deviceList,
  'device map': async () => (await import('./device-map.ts')).deviceMap,
  'device unmap': async () => (await import('./device-unmap.ts')).deviceUnmap,
  diff: async () => (await import('./diff.ts')).diff,
  'disk-usage|du': async () => (await import('./disk-usage.ts')).diskUsage,
  export: async () => (await import('./export.ts')).exportCommand,
  'export-diff': async () => (await import('./export-diff.ts')).exportDiff,
  'feature disable': async () => (await import('./feature-disable.ts')).featureDisable,
  'feature enable': async () => (await import('./feature-enable.ts')).featureEnable,
  flatten: async () => (await import('./flatten.ts')).flatten,
  'image-meta get': async () => (await import('./image-meta-get.ts')).imageMetaGet,
  'image-meta list|ls': async () => (await import('./image-meta-list.ts')).imageMetaList,
  'image-meta remove|rm': async () => (await import('./image-meta-remove.ts')).imageMetaRemove,
  'image-meta set': async () => (await import('./image-meta-set.ts')).imageMetaSet,
  import: async () => (await import('./import.ts')).importCommand,
  'import-diff': async () => (await import('./import-diff.ts')).importDiff,
  info: async () => (await import('./info.ts')).info,
  'journal client disconnect': async () => (await import('./journal-client-disconnect.ts')).journalClientDisconnect,
  'journal export': async () => (await import('./journal-export.ts')).journalExport,
  'journal import': async () => (await import('./journal-import.ts')).journalImport,
  'journal info': async () => (await import('./journal-info.ts')).journalInfo,
  'journal inspect': async () => (await import('./journal-inspect.ts')).journalInspect,
  'journal reset': async () => (await import('./journal-reset.ts')).journalReset,
  'journal status': async () => (await import('./journal-status.ts')).journalStatus,
  'list|ls': async () => (await import('./list.ts')).list,
  'lock add': async () => (await import('./lock-add.ts')).lockAdd,
  'lock list|ls': async () => (await import('./lock-list.ts')).lockList,
  'lock remove|rm|break': async () => (await import('./lock-remove.ts')).lockRemove,
  'merge-diff': async () => (await import('./merge-diff.ts')).mergeDiff,
  'mirror image demote': async () => (await import('./mirror-image-demote.ts')).mirrorImageDemote,
  'mirror image disable': async () => (await import('./mirror-image-disable.ts')).mirrorImageDisable,
  'mirror image enable': async () => (await import('./mirror-image-enable.ts')).mirrorImageEnable,
  'mirror image promote': async () => (await import('./mirror-image-promote.ts')).mirrorImagePromote,
  'mirror image resync': async () => (await import('./mirror-image-resync.ts')).mirrorImageResync,
  'mirror image retention get': async () => (await import('./mirror-image-retention-get.ts')).mirrorImageRetentionGet,
  'mirror image retention remove|rm': async () =>
    (await import('./mirror-image-retention-remove.ts')).mirrorImageRetentionRemove,
  'mirror image retention set': async () => (await import('./mirror-image-retention-set.ts')).mirrorImageRetentionSet,
  'mirror image snapshot': async () => (await import('./mirror-image-snapshot.ts')).mirrorImageSnapshot,
  'mirror image status': async () => (await import('./mirror-image-status.ts')).mirrorImageStatus,
  'mirror image test-failover': async () => (await import('./mirror-image-test-failover.ts')).mirrorImageTestFailover,
  'mirror pool demote': async () => (await import('./mirror-pool-demote.ts')).mirrorPoolDemote,
  'mirror pool disable': async () => (await import('./mirror-pool-disable.ts')).mirrorPoolDisable,
  'mirror pool enable': async () => (await import('./mirror-pool-enable.ts')).mirrorPoolEnable,
  'mirror pool info': async () => (await import('./mirror-pool-info.ts')).mirrorPoolInfo,
  'mirror pool peer add': async () => (await import('./mirror-pool-peer-add.ts')).mirrorPoolPeerAdd,
  'mirror pool peer bootstrap create': async () =>
    (await import('./mirror-pool-peer-bootstrap-create.ts')).mirrorPoolPeerBootstrapCreate,
  'mirror pool peer bootstrap import': async () =>
    (await import('./mirror-pool-peer-bootstrap-import.ts')).mirrorPoolPeerBootstrapImport,
  'mirror pool peer remove|rm': async () => (await import('./mirror-pool-peer-remove.ts')).mirrorPoolPeerRemove,
  'mirror pool peer set': async () => (await import('./mirror-pool-peer-set.ts')).mirrorPoolPeerSet,
  'mirror pool promote': async () => (await import('./mirror-pool-promote.ts')).mirrorPoolPromote,
  'mirror pool retention get': async () => (await import('./mirror-pool-retention-get.ts')).mirrorPoolRetentionGet,
  'mirror pool retention remove|rm': async () =>
    (await import('./mirror-pool-retention-remove.ts')).mirrorPoolRetentionRemove,
  'mirror pool retention set': async () => (await import('./mirror-pool-retention-set.ts')).mirrorPoolRetentionSet,
  'mirror pool status': async () => (await import('./mirror-pool-status.ts')).mirrorPoolStatus,
  'mirror snapshot schedule add': async () =>
    (await import('./mirror-snapshot-schedule-add.ts')).mirrorSnapshotScheduleAdd,
  'mirror snapshot schedule list|ls': async () =>
    (await import('./mirror-snapshot-schedule-list.ts')).mirrorSnapshotScheduleList,
  'mirror snapshot schedule remove|rm': async () =>
    (await import('./mirror-snapshot-schedule-remove.ts')).mirrorSnapshotScheduleRemove,
  'mirror snapshot schedule status': async () =>
    (await import('./mirror-snapshot-schedule-status.ts')).mirrorSnapshotScheduleStatus,
  'namespace create': async () => (await import('./namespace-create.ts')).namespaceCreate,
  'namespace list|ls': async () => (await import('./namespace-list.ts')).namespaceList,
  'namespace remove|rm': async () => (await import('./namespace-remove.ts')).namespaceRemove,
  'nbd serve': async () => (await import('./nbd-serve.ts')).nbdServe,
  'object-map check': async () => (await import('./object-map-check.ts')).objectMapCheck,
  'object-map rebuild': async () => (await import('./object-map-rebuild.ts')).objectMapRebuild,
  'pool create': async () => (await import('./pool-create.ts')).poolCreate,
  'pool init': async () => (await import('./pool-init.ts')).poolInit,
  'pool list|ls': async () => (await import('./pool-list.ts')).poolList,
  'pool remove|rm': async () => (await import('./pool-remove.ts')).poolRemove,
  'pool stats': async () => (await import('./pool-stats.ts')).poolStats,
  'queue list|ls': async () => (await import('./queue-list.ts')).queueList,
  'queue purge': async () => (await import('./queue-purge.ts')).queuePurge,
  'queue retry': async () => (await import('./queue-retry.ts')).queueRetry,
  'remove|rm': async () => (await import('./remove.ts')).remove,
  'rename|mv': async () => (await import('./rename.ts')).rename,
  resize: async () => (await import('./resize.ts')).resize,
  'site add': async () => (await import('./site-add.ts')).siteAdd,
  'site info': async () => (await import('./site-info.ts')).siteInfo,
  'site ls|list': async () => (await import('./site-ls.ts')).siteLs,
  'site remove|rm': async () => (await import('./site-remove.ts')).siteRemove,
  'site start': async () => (await import('./site-start.ts')).siteStart,
  'site stop': async () => (await import('./site-stop.ts')).siteStop,
  'snap create|add': async () => (await import('./snap-create.ts')).snapCreate,
  'snap limit clear': async () => (await import('./snap-limit-clear.ts')).snapLimitClear,
  'snap limit set': async () => (await import('./snap-limit-set.ts')).snapLimitSet,
  'snap list|ls': async () => (await import('./snap-list.ts')).snapList,
  'snap protect': async () => (await import('./snap-protect.ts')).snapProtect,
  'snap purge': async () => (await import('./snap-purge.ts')).snapPurge,
  'snap remove|rm': async () => (await import('./snap-remove.ts')).snapRemove,
  'snap rename': async () => (await import('./snap-rename.ts')).snapRename,
  'snap rollback|revert': async () => (await import('./snap-rollback.ts')).snapRollback,
  'snap unprotect': async () => (await import('./snap-unprotect.ts')).snapUnprotect,
  sparsify: async () => (await import('./sparsify.ts')).sparsify,
  status: async () => (await import('./status.ts')).status,
  'token create': async () => (await import('./token-create.ts')).tokenCreate,
  'token list|ls': async () => (await import('./token-list.ts')).tokenList,
  'token remove|rm': async () => (await import('./token-remove.ts')).tokenRemove,
  'trash list|ls': async () => (await import('./trash-list.ts')).trashList,
  'trash move|mv': async () => (await import('./trash-move.ts')).trashMove,
  'trash purge': async () => (await import('./trash-purge.ts')).trashPurge,
  'trash purge schedule add': async () => (await import('./trash-purge-schedule-add.ts')).trashPurgeScheduleAdd,
  'trash purge schedule list|ls': async () => (await import('./trash-purge-schedule-list.ts')).trashPurgeScheduleList,
  'trash purge schedule remove|rm': async () =>
    (await import('./trash-purge-schedule-remove.ts')).trashPurgeScheduleRemove,
  'trash purge schedule status': async () =>
    (await import('./trash-purge-schedule-status.ts')).trashPurgeScheduleStatus,
  'trash remove|rm': async () => (await import('./trash-remove.ts')).trashRemove,
  'trash restore': async () => (await import('./trash-restore.ts')).trashRestore,
};

/** All commands, for help and for what may be misspelt. */
export const loadCommands = (): Promise<Command[]> => Promise.all(Object.values(loaders).map((load) => load()));

/** The commands whose words stand among those of a command line in their order: the one that is meant, and few others. */
export const loadCandidates = (line: readonly string[]): Promise<Command[]> =>
  Promise.all(
    Object.entries(loaders)
      .filter(([words]) => mayMean(line, words.split(' ')))
      .map(([, load]) => load()),
  );

/** A group beneath a command is enough, as `trash purge schedule` beneath `trash purge`, which would take its name for a pool's. */
function mayMean(line: readonly string[], words: readonly string[]): boolean {
  const isBeneath = loaders[words.slice(0, -2).join(' ')] !== undefined;
  return standAmong(isBeneath ? words.slice(0, -1) : words, line);
}

function standAmong(words: readonly string[], line: readonly string[]): boolean {
  let from = 0;
  return words.every((word) => {
    const names = word.split('|');
    const at = line.findIndex((one, index) => index >= from && names.includes(one));
    from = at + 1;
    return at !== -1;
  });
}
