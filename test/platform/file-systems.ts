// File systems in files, and what is done to them without mounting them: each step leaves a whole one. Names of files must have no
// space in them.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toolOk } from '../nbd/served.ts';
import { noise } from './mirror-pair.ts';

const mebibyte = 2 ** 20;

export type FileSystem = {
  name: string;
  sizeBytes: number;
  tools: string[];
  /** It is made, then changed. `directory` holds the contents that it is given (`makeContents`). */
  steps: ((file: string, directory: string) => Promise<unknown>)[];
  /** Words of a command that finds it whole; its file comes last. */
  check: [string, ...string[]];
};

const [small, large] = ['small.bin', 'large.bin'];

export function makeContents(directory: string): void {
  writeFileSync(join(directory, small), noise(small, 100_000));
  writeFileSync(join(directory, large), noise(large, mebibyte));
}

const debugfs =
  (change: (directory: string) => string): FileSystem['steps'][number] =>
  (file, directory) =>
    toolOk('debugfs', ['-w', '-R', change(directory), file]);

export const ext4: FileSystem = {
  name: 'ext4',
  sizeBytes: 16 * mebibyte,
  tools: ['mke2fs', 'debugfs', 'e2fsck', 'nbdcopy'],
  steps: [
    (file) => toolOk('mke2fs', ['-q', '-t', 'ext4', '-F', file]),
    debugfs(() => 'mkdir d'),
    debugfs((directory) => `write ${join(directory, small)} d/small`),
    debugfs((directory) => `write ${join(directory, large)} large`),
    debugfs(() => 'rm large'),
  ],
  check: ['e2fsck', '-fn'],
};

/** Smaller than it is supported, which only whoever mounts it minds. */
const makeXfs =
  (content: string): FileSystem['steps'][number] =>
  (file, directory) => {
    const proto = join(directory, 'proto');
    writeFileSync(proto, `x\n0 0\nd--755 0 0\nhello ---644 0 0 ${join(directory, content)}\n$\n`);
    return toolOk('mkfs.xfs', ['-q', '-f', '--unsupported', '-p', proto, file]);
  };

const xfsDb =
  (command: string): FileSystem['steps'][number] =>
  (file) =>
    toolOk('xfs_db', ['-x', '-c', command, file]);

export const xfs: FileSystem = {
  name: 'xfs',
  sizeBytes: 32 * mebibyte,
  tools: ['mkfs.xfs', 'xfs_db', 'xfs_repair', 'nbdcopy'],
  steps: [makeXfs(small), xfsDb('label far'), xfsDb('uuid generate'), makeXfs(large)],
  check: ['xfs_repair', '-n', '-f'],
};
