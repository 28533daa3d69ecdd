// Owns the demo's disk: a real ext4 file system with real files where e2fsprogs is installed, else a synthetic disk with
// structure (a partition table's worth of zeros, text, random data, holes).

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Shell } from './shell.ts';

export const diskBytes = 96 * 1024 * 1024;
const textBytes = 8 * 1024 * 1024;
const randomFileBytes = 16 * 1024 * 1024;
const changeBytes = 3 * 1024 * 1024;

export type Disk = { kind: 'ext4' | 'synthetic'; path: string };

const line = (number: number): string =>
  `${number} the quick brown fox jumps over the lazy dog, and the disk far away shall know of it\n`;
const text = (bytes: number): string =>
  Array.from({ length: Math.ceil(bytes / line(1e6).length) }, (_, i) => line(1e6 + i))
    .join('')
    .slice(0, bytes);

export async function makeDisk(shell: Shell, directory: string): Promise<Disk> {
  const path = join(directory, 'disk.img');
  const files = join(directory, 'files');
  await mkdir(join(files, 'logs'), { recursive: true });
  await writeFile(join(files, 'logs', 'app.log'), text(textBytes));
  await writeFile(join(files, 'database.bin'), randomBytes(randomFileBytes));
  const made = await shell.tool('mke2fs', ['-q', '-t', 'ext4', '-d', files, path, `${diskBytes / 1024}k`]);
  if (made?.code === 0) return { kind: 'ext4', path };
  await makeSynthetic(path);
  return { kind: 'synthetic', path };
}

async function makeSynthetic(path: string): Promise<void> {
  const file = await open(path, 'w');
  await file.truncate(diskBytes);
  await file.write(Buffer.from(text(textBytes)), 0, undefined, 1024 * 1024);
  await file.write(randomBytes(randomFileBytes), 0, undefined, 40 * 1024 * 1024);
  await file.close();
}

/** Changes the disk as a user would: writes a new file into the file system. Answers how many bytes that was. */
export async function changeDisk(shell: Shell, disk: Disk, directory: string): Promise<number> {
  const added = join(directory, 'report.bin');
  await writeFile(added, randomBytes(changeBytes));
  if (disk.kind === 'ext4') {
    const written = await shell.tool('debugfs', ['-w', '-R', `write ${added} report.bin`, disk.path]);
    if (written?.code === 0) return changeBytes;
  }
  const file = await open(disk.path, 'r+');
  await file.write(randomBytes(changeBytes), 0, undefined, 70 * 1024 * 1024);
  await file.close();
  return changeBytes;
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
