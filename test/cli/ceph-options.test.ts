// Options that only a Ceph cluster needs: taken, with their values, wherever they stand.

import { expect, test } from 'vitest';
import { withoutCephOptions } from '../../lib/cli/parse/ceph-options.ts';

const known = new Set(['--name', '--size', '--rbd-default-clone-format']);
const left = (line: string): string => withoutCephOptions(line.split(' '), known).join(' ');

test.each([
  ['--id admin --cluster a ls', '--cluster a ls'],
  ['--cluster a --client-mount-timeout 5 mirror pool info', '--cluster a mirror pool info'],
  ['ls --debug-rbd=20 --log-file=/dev/null -p x', 'ls -p x'],
  ['ls --debug_rbd 20 x', 'ls x'],
  ['-c /etc/ceph/b.conf -m 10.0.0.1 -k ring --keyring ring -n client.x ls', 'ls'],
  ['--name client.x ls', 'ls'],
  ['create x --size 5 --rbd-default-features 3', 'create x --size 5'],
  ['clone a@s b --rbd_default_clone_format=2 --rbd_cache false', 'clone a@s b --rbd-default-clone-format=2'],
])('%s', (line, rest) => {
  expect(left(line)).toBe(rest);
});

test('what a command knows, what is no option and what follows -- stays', () => {
  for (const line of [
    'site start --name site-a',
    'clone a@s b --rbd-default-clone-format 2',
    'snap create x@debug-1',
    'image-meta set x -- --debug-rbd 3',
    '--cluster a ls',
  ])
    expect(left(line)).toBe(line);
});
