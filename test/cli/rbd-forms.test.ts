// The forms in which Ceph's own mirroring scenarios, and scripts like them, call rbd: options before, between and after the words,
// joined by `=` or not, names as one spec or by options, other names of verbs. Each is told apart as rbd does.

import { describe, expect, test } from 'vitest';
import { withoutCephOptions } from '../../lib/cli/parse/ceph-options.ts';
import { loadCommands } from '../../lib/cli/commands/index.ts';
import { buildProgram } from '../../lib/cli/program.ts';
import { testTerminal } from './terminal.ts';

const commands = await loadCommands();

type Understood = {
  path: string;
  args: Record<string, unknown>;
  options: Record<string, unknown>;
  general: Record<string, unknown>;
};

/** What a command line says to the command that it calls; quotes hold a word together. */
async function understand(line: string): Promise<Understood> {
  const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2]!);
  let understood: Understood | undefined;
  const listening = commands.map((command) => ({
    ...command,
    run: async ({ args, options, context }: { args: object; options: object; context: { general: object } }) => {
      understood = { path: command.path, args, options, general: context.general } as Understood;
    },
  }));
  const { terminal } = testTerminal();
  await buildProgram(listening, terminal).parseAsync(withoutCephOptions(words, new Set()), { from: 'user' });
  return understood!;
}

const image = { pool: 'mirror', namespace: '', image: 'test' };
const inNamespace = { ...image, namespace: 'ns1' };
const pool = { pool: 'mirror', namespace: '' };
const uuid = '71249ac3-c569-4c3d-a9d0-50c2f0482888';

/** The line, the command that it calls, and some of what that is told. */
const forms: readonly (readonly [line: string, path: string, told: object])[] = [
  ['--cluster cluster1 pool init mirror', 'pool init', { args: { pool: 'mirror' }, general: { cluster: 'cluster1' } }],
  [
    '--cluster cluster1 mirror pool enable --site-name cluster1 mirror image',
    'mirror pool enable',
    { args: { pool, mode: 'image' }, options: { siteName: 'cluster1' } },
  ],
  [
    '--cluster cluster1 mirror pool enable mirror/ns1 pool',
    'mirror pool enable',
    { args: { pool: { pool: 'mirror', namespace: 'ns1' }, mode: 'pool' } },
  ],
  ['--cluster=cluster1 mirror pool enable mirror image', 'mirror pool enable', { general: { cluster: 'cluster1' } }],
  ['mirror pool enable -p mirror image', 'mirror pool enable', { args: { pool, mode: 'image' } }],
  [
    'mirror pool enable --pool mirror --namespace ns1 image',
    'mirror pool enable',
    { args: { pool: { pool: 'mirror', namespace: 'ns1' }, mode: 'image' } },
  ],
  ['--cluster c namespace create mirror/ns1', 'namespace create', {}],
  ['--cluster c -p mirror --namespace "" ls -l', 'list', { args: { pool }, options: { long: true } }],
  [
    '--cluster c -p mirror --namespace "ns1" mirror pool info',
    'mirror pool info',
    { args: { pool: { pool: 'mirror', namespace: 'ns1' } } },
  ],
  [
    '--cluster c -p mirror --namespace "" mirror pool status --verbose',
    'mirror pool status',
    { args: { pool }, options: { verbose: true } },
  ],
  ['--cluster c -p mirror --namespace "" info test', 'info', { args: { image } }],
  ['--cluster c -p mirror --namespace "" journal status --image test', 'journal status', { args: { image } }],
  ['--cluster c -p mirror --namespace "" snap ls --all test', 'snap list', { args: { image }, options: { all: true } }],
  [
    'mirror pool info --cluster c --pool mirror --format xml',
    'mirror pool info',
    { args: { pool }, general: { cluster: 'c', format: 'xml' } },
  ],
  [
    '--cluster c --pool mirror mirror pool info --format json',
    'mirror pool info',
    { args: { pool }, general: { format: 'json' } },
  ],
  [
    'mirror pool info mirror --all --format xml --pretty-format',
    'mirror pool info',
    { options: { all: true }, general: { pretty: true } },
  ],
  [
    `--cluster c --pool mirror mirror pool peer remove ${uuid}`,
    'mirror pool peer remove',
    { args: { pool: 'mirror', uuid } },
  ],
  [`--cluster c mirror pool peer remove mirror ${uuid}`, 'mirror pool peer remove', { args: { pool: 'mirror', uuid } }],
  ['--cluster c mirror pool peer add mirror cluster2', 'mirror pool peer add', {}],
  [
    '--cluster c mirror pool peer add mirror client.mirror@cluster2 --remote-mon-host "10.0.0.1:6789" --remote-key-file key',
    'mirror pool peer add',
    {},
  ],
  [`--cluster c --pool mirror mirror pool peer set ${uuid} client client.invalid`, 'mirror pool peer set', {}],
  [`--cluster c mirror pool peer set mirror ${uuid} mon-host 10.0.0.1`, 'mirror pool peer set', {}],
  [
    '--cluster c mirror pool peer bootstrap create mirror',
    'mirror pool peer bootstrap create',
    { args: { pool: 'mirror' } },
  ],
  [
    '--cluster c --pool mirror mirror pool peer bootstrap import token --direction rx-only',
    'mirror pool peer bootstrap import',
    { args: { pool: 'mirror', path: 'token' }, options: { direction: 'rx-only' } },
  ],
  [
    'mirror pool peer bootstrap import --pool mirror --token-path token --site-name b',
    'mirror pool peer bootstrap import',
    { args: { pool: 'mirror', path: 'token' }, options: { siteName: 'b' } },
  ],
  [
    '--cluster c mirror pool status mirror --verbose --format xml',
    'mirror pool status',
    { args: { pool }, options: { verbose: true }, general: { format: 'xml' } },
  ],
  [
    '--cluster c mirror pool status --verbose mirror/ns1 --format xml --pretty-format',
    'mirror pool status',
    { args: { pool: { namespace: 'ns1' } } },
  ],
  [
    '--cluster c mirror pool promote --force mirror',
    'mirror pool promote',
    { args: { pool }, options: { force: true } },
  ],
  ['--cluster c mirror pool demote mirror', 'mirror pool demote', { args: { pool } }],
  ['--cluster c mirror image status mirror/test', 'mirror image status', { args: { image } }],
  [
    '--cluster c mirror image status mirror/ns1/test --format xml --pretty-format',
    'mirror image status',
    { args: { image: inNamespace } },
  ],
  [
    'mirror image status --pool mirror --namespace ns1 --image test',
    'mirror image status',
    { args: { image: inNamespace } },
  ],
  ['mirror image status --image mirror/ns1/test', 'mirror image status', { args: { image: inNamespace } }],
  [
    '--cluster=c mirror image enable mirror/test snapshot',
    'mirror image enable',
    { args: { image, mode: 'snapshot' } },
  ],
  [
    'mirror image enable --pool mirror --image test snapshot',
    'mirror image enable',
    { args: { image, mode: 'snapshot' } },
  ],
  ['mirror image enable -p mirror test snapshot', 'mirror image enable', { args: { image, mode: 'snapshot' } }],
  [
    '--cluster=c mirror image disable mirror/test',
    'mirror image disable',
    { args: { image }, options: { force: false } },
  ],
  ['--cluster=c mirror image disable --force mirror/test', 'mirror image disable', { options: { force: true } }],
  [
    '--cluster=c mirror image promote mirror/test --force',
    'mirror image promote',
    { args: { image }, options: { force: true } },
  ],
  ['--cluster=c mirror image demote mirror/test', 'mirror image demote', { args: { image } }],
  ['--cluster=c mirror image resync mirror/test', 'mirror image resync', { args: { image } }],
  ['--cluster c mirror image snapshot mirror/test', 'mirror image snapshot', { args: { image } }],
  ['mirror image snapshot --skip-quiesce mirror/test', 'mirror image snapshot', { options: { skipQuiesce: true } }],
  [
    'mirror image snapshot mirror/test --ignore-quiesce-error',
    'mirror image snapshot',
    { options: { ignoreQuiesceError: true } },
  ],
  [
    '--cluster c mirror snapshot schedule add --pool mirror --image test 1m',
    'mirror snapshot schedule add',
    { args: { level: { pool: 'mirror', image: 'test' }, interval: '1m' } },
  ],
  [
    'mirror snapshot schedule rm -p mirror --namespace ns1 --image test 1h 14:00',
    'mirror snapshot schedule remove',
    { args: { interval: '1h', startTime: '14:00' } },
  ],
  [
    'mirror snapshot schedule ls --recursive --format xml',
    'mirror snapshot schedule list',
    { options: { recursive: true } },
  ],
  ['--cluster c snap list --all mirror/test --format xml', 'snap list', { args: { image }, options: { all: true } }],
  ['--cluster c --format xml snap list mirror/test', 'snap list', { general: { format: 'xml' } }],
  ['--cluster c snap ls mirror/test --all', 'snap list', { options: { all: true } }],
  ['--cluster c snap list -a mirror/test', 'snap list', { options: { all: true } }],
  ['--cluster c snap create mirror/test@s', 'snap create', { args: { snap: { ...image, snap: 's' } } }],
  ['snap create --pool mirror --image test --snap s', 'snap create', { args: { snap: { ...image, snap: 's' } } }],
  ['snap create mirror/test --snap s', 'snap create', { args: { snap: { ...image, snap: 's' } } }],
  ['snap add mirror/test@s --no-progress', 'snap create', { general: { progress: false } }],
  ['--cluster c snap rm mirror/test@s', 'snap remove', {}],
  ['snap rm mirror/test --snap-id 5', 'snap remove', { options: { snapId: 5 } }],
  [
    '--cluster c snap rename mirror/test@a mirror/test@b',
    'snap rename',
    { args: { destination: { pool: 'mirror', image: 'test', snap: 'b' } } },
  ],
  [
    'snap rename -p mirror --image test --snap a --dest-pool mirror --dest test --dest-snap b',
    'snap rename',
    { args: { snap: { ...image, snap: 'a' }, destination: { pool: 'mirror', image: 'test', snap: 'b' } } },
  ],
  ['--cluster c snap purge mirror/test', 'snap purge', { args: { image } }],
  ['--cluster c snap protect mirror/test@s', 'snap protect', {}],
  ['--cluster c snap unprotect mirror/test@s', 'snap unprotect', {}],
  ['snap rollback --image mirror/test --snap s', 'snap rollback', { args: { snap: { ...image, snap: 's' } } }],
  ['--cluster c info mirror/test@s', 'info', { args: { image: { ...image, snap: 's' } } }],
  [
    'info --pool mirror --image test --format json --pretty-format',
    'info',
    { args: { image }, general: { pretty: true } },
  ],
  [
    '--cluster c create --size 128 --image-feature "layering,exclusive-lock" mirror/test',
    'create',
    { args: { image }, options: { size: 128 * 2 ** 20 } },
  ],
  [
    '--cluster c create --size 128 --image-feature layering --data-pool data mirror/test',
    'create',
    { args: { image } },
  ],
  ['create test --pool mirror -s 1G', 'create', { args: { image }, options: { size: 2 ** 30 } }],
  [
    '--cluster c resize --image mirror/test --size 256 --allow-shrink',
    'resize',
    { args: { image }, options: { size: 256 * 2 ** 20, allowShrink: true } },
  ],
  [
    '--cluster=c rename mirror/test mirror/other',
    'rename',
    { args: { image, destination: { pool: 'mirror', image: 'other' } } },
  ],
  [
    'mv -p mirror --image test --dest-pool mirror --dest other',
    'rename',
    { args: { image, destination: { pool: 'mirror', image: 'other' } } },
  ],
  ['--cluster=c rm mirror/test', 'remove', { args: { image } }],
  ['--cluster c feature enable mirror/test journaling', 'feature enable', {}],
  [
    '--cluster c image-meta set mirror/test key value',
    'image-meta set',
    { args: { image, key: 'key', value: 'value' } },
  ],
  ['--cluster c image-meta get mirror/test key', 'image-meta get', { args: { image, key: 'key' } }],
  [
    'image-meta set --pool mirror --image test conf_rbd_mirroring_resync_after_disconnect true',
    'image-meta set',
    { args: { image, value: 'true' } },
  ],
  ['--cluster=c trash move mirror/test', 'trash move', {}],
  ['--cluster=c trash restore mirror/114ad9b31f6', 'trash restore', {}],
  [
    '--cluster c clone mirror_parent/test@s mirror/clone --image-feature layering,exclusive-lock',
    'clone',
    { args: { target: { pool: 'mirror', image: 'clone' } } },
  ],
  [
    'clone -p mirror --image test --snap s --dest-pool mirror --dest clone',
    'clone',
    { args: { source: { ...image, snap: 's' }, target: { pool: 'mirror', image: 'clone' } } },
  ],
  [
    '--cluster c bench mirror/test --io-type write --io-size 4096 --io-threads 1 --io-total 409600 --io-pattern rand',
    'bench',
    {},
  ],
  ['--cluster c export mirror/test out', 'export', { args: { path: 'out' } }],
  ['--cluster c export mirror/test@s out', 'export', {}],
  ['export --pool mirror --image test --path out', 'export', { args: { image, path: 'out' } }],
  ['import --path in --dest-pool mirror --dest test', 'import', { args: { path: 'in' } }],
  ['import in --dest mirror/test', 'import', { args: { path: 'in' } }],
  ['--cluster c list mirror', 'list', { args: { pool } }],
  [
    '--cluster c ls mirror/ns1 --format xml --pretty-format',
    'list',
    { args: { pool: { pool: 'mirror', namespace: 'ns1' } } },
  ],
  ['--id admin --cluster c --debug-rbd=20 ls mirror', 'list', { args: { pool } }],
];

/** Other issues bring these: a form of theirs is tried as soon as its command, or its option, is there. */
const awaited = ['--image-feature', '--data-pool'];

function isThere(line: string, path: string): boolean {
  const command = commands.find((one) => one.path === path);
  const flags = Object.values(command?.options ?? {}).map((option) => option.flags);
  return (
    command !== undefined &&
    awaited.every((option) => !line.includes(option) || flags.some((flag) => flag.includes(option)))
  );
}

describe('a command line of rbd is understood', () => {
  test.each(forms.filter(([line, path]) => isThere(line, path)))('%s', async (line, path, told) => {
    const understood = await understand(line);
    expect(understood.path).toBe(path);
    expect(understood).toMatchObject(told);
  });
});

const refused: readonly (readonly [line: string, message: string])[] = [
  ['mirror image snapshot mirror/test --format json', "unrecognised option '--format'"],
  ['mirror image enable mirror/test snapshot extra', 'too many arguments'],
  ['mirror pool info mirror --format yaml', "the argument for option '--format' is invalid"],
  ['mirror snapshot schedule add -p mirror -1m', "unknown option '-1m'"],
  ['info', 'image name was not specified'],
  ['snap create mirror/test', 'snapshot name was not specified'],
  ['mirror image status mirror/test@s', "snapshot name specified for a command that doesn't use it"],
  ['resize --image mirror/test --size x', "the argument for option '--size' is invalid"],
];

test.each(refused)('what rbd refuses: %s', async (line, message) => {
  await expect(understand(line)).rejects.toThrow(message);
});
