// Owns the question whether this machine has a program that a suite needs. Without it the suite is skipped, aloud and once;
// under FARSIDE_REQUIRE_ALL (as in CI) its absence is a failure, so that nothing is skipped silently there.
//
//   describe.skipIf(!requireTool('qemu-img'))('…', …)

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const debianPackageOf: Record<string, string> = {
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  nbdinfo: 'libnbd-bin',
  nbdcopy: 'libnbd-bin',
  nbdsh: 'python3-libnbd',
  mke2fs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  'mkfs.xfs': 'xfsprogs',
  xfs_repair: 'xfsprogs',
  xfs_db: 'xfsprogs',
  script: 'bsdutils',
  radosgw: 'radosgw',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  ceph: 'ceph-common',
};

/** mke2fs and e2fsck live where an ordinary user's PATH does not look. */
const systemFolders = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

/** A shim of another Python that cannot load it may come first on PATH; Debian's is the one that can. */
export const systemPath = (): string => `/usr/bin${delimiter}${process.env['PATH'] ?? ''}`;

const told = new Set<string>();

/** Whether the tool is there. Throws under FARSIDE_REQUIRE_ALL when it is not. */
export function requireTool(name: string): boolean {
  if (findTool(name) !== undefined) return true;
  const reason = `${name} is not installed (Debian: apt-get install --no-install-recommends ${debianPackageOf[name] ?? name})`;
  if (process.env['FARSIDE_REQUIRE_ALL']) throw new Error(reason);
  if (!told.has(name)) process.stderr.write(`skipping tests: ${reason}\n`);
  told.add(name);
  return false;
}

/** The full path of a tool, found on PATH or among the system's folders. */
export function findTool(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...systemFolders];
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
