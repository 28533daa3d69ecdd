// Whole command lines against a stand-in for a site's API: what is sent, what is printed where, and the exit code.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { registerSite } from '../../lib/cli/sites/registry.ts';
import { run } from '../../lib/cli/run.ts';
import { testTerminal } from './terminal.ts';

type Answer = { status?: number; body?: unknown };
type Asked = { method: string; path: string; body: unknown; authorization: string | null };

const token = 'secret-token-of-site-a';
const refusal = (code: string, message: string): Answer => ({ status: 400, body: { error: { code, message } } });

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'farside-run-'));
  await registerSite(home, {
    name: 'site-a',
    url: 'http://site-a.test',
    token,
    platform: 'miniflare',
    directory: '/nowhere',
  });
});
afterEach(() => rm(home, { recursive: true }));

/** Runs a command line; `answers` are given by `METHOD /path?query`, anything else fails the test. */
async function cli(line: string, answers: Record<string, Answer> = {}, env: NodeJS.ProcessEnv = {}) {
  const asked: Asked[] = [];
  const answer = async (input: unknown, init: RequestInit | undefined): Promise<Response> => {
    const request = new Request(input as URL, init);
    const url = new URL(request.url);
    const text = await request.text();
    const path = url.pathname + url.search;
    asked.push({
      method: request.method,
      path,
      body: text === '' ? undefined : JSON.parse(text),
      authorization: request.headers.get('authorization'),
    });
    const { status = 200, body } = answers[`${request.method} ${path}`] ?? {
      status: 500,
      body: { error: { code: 'EIO', message: `unexpected ${request.method} ${path}` } },
    };
    return new Response(body === undefined ? null : JSON.stringify(body), {
      status: body === undefined ? 204 : status,
    });
  };
  const { terminal, stdout, stderr } = testTerminal({
    env: { FARSIDE_HOME: home, ...env },
    fetch: answer,
  });
  const exitCode = await run(line.split(' '), terminal);
  expect(stdout.text + stderr.text).not.toContain(token);
  return { exitCode, stdout: stdout.text, stderr: stderr.text, asked };
}

describe('command lines', () => {
  test.each(['snap lss info', 'lss', 'snap lss'])(
    '%s: what was meant is looked for among all commands',
    async (line) => {
      const { exitCode, stdout, stderr, asked } = await cli(line);
      expect({ exitCode, stdout, asked }).toEqual({ exitCode: 1, stdout: '', asked: [] });
      expect(stderr).toBe("farside: unknown command 'lss'\n(Did you mean ls?)\n");
    },
  );

  test('a group with a word that is a command elsewhere shows all that it has', async () => {
    expect((await cli('snap --help ls')).stdout).toMatch(/create.*\n(.*\n)*.*rollback/);
  });

  test.each([
    ['info --frobnicate vm-1', 1, "farside: unrecognised option '--frobnicate'\n"],
    ['mirror image snapshot vm-1 --quiesce', 1, "farside: unrecognised option '--quiesce'\n"],
    ['mirror snapshot schedule add -p rbd -1m', 1, "farside: unrecognised option '-1m'\n"],
    ['nonsense', 1, "farside: unknown command 'nonsense'\n"],
    ['mirror image nonsense', 1, "farside: unknown command 'nonsense'\n"],
    ['info', 22, 'farside: image name was not specified\n'],
    ['info a b', 1, 'farside: too many arguments\n'],
    ['help nonsense', 1, "farside: unknown command 'nonsense'\n"],
    ['info vm-1 --pretty-format=1', 1, "farside: option '--pretty-format' does not take any arguments\n"],
    ['children vm-1 --snap-id x', 1, "farside: the argument ('x') for option '--snap-id' is invalid\n"],
    ['info ', 22, 'farside: image name was not specified\n'],
    ['info a/b/c/d', 2, 'farside: error opening image c/d: (2) No such file or directory\n'],
    ['info a@b/c', 2, "farside: error opening pool 'a@b': (2) No such file or directory\n"],
    ['lock ls a@b@c', 22, "farside: snapshot name specified for a command that doesn't use it\n"],
    ['ls a/b/c', 2, "farside: error opening pool 'a/b': (2) No such file or directory\n"],
    ['create /vm-1 --size 1G', 22, "farside: invalid spec '/vm-1'\n"],
    ['snap create vm-1@a@b', 22, "farside: invalid spec 'vm-1@a@b'\n"],
    ['snap limit set vm-1', 34, 'farside: must specify --limit <num>\n'],
    ['clone vm-1 vm-2', 22, 'farside: snapshot name was not specified\n'],
    ['cp vm-1 vm-2@s', 22, "farside: destination snapshot name specified for a command that doesn't use it\n"],
    ['create vm-1 --journal-object-size 1', 1, "farside: the argument for option '--journal-object-size' is invalid\n"],
    ['namespace create a/b/c', 22, "farside: invalid pool 'a/b'\n"],
    ['journal info', 22, 'farside: journal was not specified\n'],
    ['device unmap', 22, 'farside: unmap requires either image name or device path\n'],
    ['export vm-1', 22, 'farside: path was not specified\n'],
    ['info @x', 22, "farside: invalid spec '@x'\n"],
    ['info vm-1 --format', 1, "farside: the required argument for option '--format' is missing\n"],
    ['info vm-1 --format csv', 1, "farside: the argument for option '--format' is invalid\n"],
    ['create vm-1', 22, 'farside: must specify --size <M/G/T>\n'],
    ['create vm-1 --size big', 1, "farside: the argument for option '--size' is invalid\n"],
    ['create vm-1@s --size 1G', 22, "farside: snapshot name specified for a command that doesn't use it\n"],
    ['snap create vm-1', 22, 'farside: snapshot name was not specified\n'],
    ['mirror pool enable rbd', 22, "farside: must specify 'image' or 'pool' mode.\n"],
    ['mirror pool enable rbd bogus', 22, "farside: must specify 'image' or 'pool' mode.\n"],
    ['mirror image enable rbd/vm-1 bogus', 22, 'farside: invalid mode name: bogus\n'],
    ['mirror pool peer remove rbd', 22, 'farside: must specify peer uuid\n'],
    ['mirror pool peer remove rbd x', 22, 'farside: invalid uuid\n'],
    ['mirror pool peer bootstrap create rbd/ns1', 22, "farside: invalid pool 'rbd/ns1'\n"],
    ['mirror pool peer bootstrap import rbd /nonexistent/token', 2, 'farside: error opening /nonexistent/token\n'],
    [
      'mirror pool peer bootstrap import --direction tx-only rbd t',
      1,
      "farside: the argument for option '--direction' is invalid\n",
    ],
    ['mirror snapshot schedule add -p rbd', 22, "farside: missing 'interval' argument\n"],
    ['image-meta get vm-1', 22, 'farside: metadata key was not specified\n'],
    [
      'rename vm-1 other/vm-1',
      22,
      'farside: mv/rename across pools not supported\nsource pool: rbd dest pool: other\n',
    ],
    ['snap rename vm-1@a vm-2@b', 22, 'farside: source and destination image name must be the same\n'],
    ['-p a info b/vm-1', 22, "farside: pool is specified twice: 'b' in the spec and 'a' by option\n"],
  ])('%s: exit %i without a request', async (line, exitCode, stderr) => {
    const result = await cli(line);
    expect(result).toEqual({ exitCode, stdout: '', stderr, asked: [] });
  });

  test.each([['help'], ['']])('"%s" shows what there is, and exits 0', async (line) => {
    const { terminal, stdout } = testTerminal({ env: { FARSIDE_HOME: home } });
    expect(await run(line.split(' ').filter(Boolean), terminal)).toBe(0);
    expect(stdout.text).toContain('mirror …');
  });

  test('help of a command is what its --help says', async () => {
    const { exitCode, stdout } = await cli('help snap add');
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: (await cli('snap create --help')).stdout });
  });

  test('a word that is nearly an option is suggested', async () => {
    const { stderr } = await cli('resize vm-1 --siez 3G');
    expect(stderr).toBe("farside: unrecognised option '--siez'\n(Did you mean --size?)\n");
  });

  test('a group without a verb shows its help on stderr and exits 1', async () => {
    const { exitCode, stdout, stderr } = await cli('mirror image');
    expect([exitCode, stdout]).toEqual([1, '']);
    expect(stderr).toContain('enable <image-spec> [mode]');
  });

  test('nor does it where its name could be an argument of the command above it', async () => {
    const { exitCode, stdout, stderr, asked } = await cli('trash purge schedule');
    expect({ exitCode, stdout, asked }).toEqual({ exitCode: 1, stdout: '', asked: [] });
    expect(stderr).toContain('status [options]');
    expect((await cli('trash purge schedule nonsense')).stderr).toBe("farside: unknown command 'nonsense'\n");
  });

  test('--version', async () => {
    expect(await cli('--version')).toMatchObject({ exitCode: 0, stdout: 'farside version 0.1.0\n' });
  });

  test('a stack is shown to those who ask for it', async () => {
    expect((await cli('info', {}, { FARSIDE_DEBUG: '1' })).stderr).toContain('at resolvePresent');
  });

  test('--help exits 0, on stdout', async () => {
    const { exitCode, stdout, stderr } = await cli('mirror image promote --help');
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(stdout).toContain('Examples:\n  $ farside');
  });

  test.each([
    '--cluster site-a -p backup mirror image demote vm-1',
    'mirror image demote vm-1 -p backup --cluster site-a',
    'mirror image demote --pool backup --image vm-1',
    'mirror image demote backup/vm-1',
  ])('general options before and after the command are the same: %s', async (line) => {
    const { exitCode, stdout, asked } = await cli(line, { 'POST /v1/pools/backup/images/vm-1/mirror/demote': {} });
    expect([exitCode, stdout]).toEqual([0, 'Image demoted to non-primary\n']);
    expect(asked[0]!.authorization).toBe(`Bearer ${token}`);
  });

  test('names are encoded into the path, and dot segments refused', async () => {
    const { asked } = await cli('mirror image resync p#1/n?s/v%m', {
      'POST /v1/pools/p%231/images/v%25m/mirror/resync?namespace=n%3Fs': {},
    });
    expect(asked).toHaveLength(1);
    expect((await cli('info ..')).stderr).toBe("farside: info: (22) Invalid argument\ninvalid name '..'\n");
  });
});

describe('choosing a site', () => {
  const other = { name: 'site-b', url: 'http://site-b.test', token: 't', platform: 'node' };

  test('none registered: the error says what to do', async () => {
    const { exitCode, stderr } = await cli('ls', {}, { FARSIDE_HOME: join(home, 'empty') });
    expect(exitCode).toBe(2);
    expect(stderr).toContain("farside: no site is registered\nstart one with 'farside site start --name site-a'");
  });

  test('several registered: one has to be named, by option or environment', async () => {
    await registerSite(home, other);
    expect((await cli('pool ls')).stderr).toBe(
      'farside: several sites are registered (site-a, site-b)\nchoose one with --cluster SITE, or set FARSIDE_CLUSTER\n',
    );
    const pools = { 'GET /v1/pools': { body: [{ name: 'rbd' }] } };
    expect((await cli('pool ls', pools, { FARSIDE_CLUSTER: 'site-b' })).stdout).toBe('rbd\n');
    const both = await cli('--cluster site-a pool ls', pools, { FARSIDE_CLUSTER: 'site-b' });
    expect(both.asked[0]!.authorization).toBe(`Bearer ${token}`);
  });

  test('an unknown one: the error names those that are known', async () => {
    const { exitCode, stderr } = await cli('--cluster site-x ls');
    expect(exitCode).toBe(2);
    expect(stderr).toContain("site 'site-x' is not registered (registered: site-a)");
  });

  test('one that does not answer: the error says how to start it', async () => {
    const { terminal, stderr } = testTerminal({
      env: { FARSIDE_HOME: home },
      fetch: () => Promise.reject(new TypeError('fetch failed')),
    });
    expect(await run(['ls'], terminal)).toBe(111);
    expect(stderr.text).toBe(
      "farside: site 'site-a' at http://site-a.test does not answer: start it with 'farside site start --name site-a'\n",
    );
  });

  test('one that refuses the token, or is no farside site', async () => {
    const unauthorized = { 'GET /v1/pools': { status: 401, body: { error: { code: 'EACCES', message: 'no' } } } };
    expect(await cli('pool ls', unauthorized)).toMatchObject({
      exitCode: 13,
      stderr: expect.stringContaining('refuses the registered token') as string,
    });
    expect(await cli('pool ls', { 'GET /v1/pools': { status: 502, body: '<html>' } })).toMatchObject({ exitCode: 5 });
    expect(await cli('pool ls', { 'GET /v1/pools': { body: { pools: [] } } })).toMatchObject({ exitCode: 74 });
  });
});

const image = '/v1/pools/rbd/images/vm-1';

describe("failures in rbd's words", () => {
  test.each([
    [
      'info vm-1',
      `GET ${image}`,
      refusal('ENOENT', 'error opening image vm-1'),
      2,
      'farside: error opening image vm-1: (2) No such file or directory\n',
    ],
    [
      'info vm-1',
      `GET ${image}`,
      refusal('ENOENT', "error opening pool 'rbd'"),
      2,
      "farside: error opening pool 'rbd': (2) No such file or directory\n",
    ],
    [
      'info vm-1@s',
      `GET ${image}?snap=s`,
      refusal('ENOENT', 'snapshot s …'),
      2,
      'error setting snapshot context: (2) No such file or directory\n',
    ],
    [
      'mirror image status vm-1',
      `GET ${image}/mirror/status`,
      refusal('EINVAL', 'mirroring not enabled on the image'),
      22,
      'farside: mirroring not enabled on the image\n',
    ],
    [
      'mirror pool status rbd',
      'GET /v1/pools/rbd/mirror/status',
      refusal('EINVAL', 'mirroring not enabled on the pool'),
      22,
      'farside: mirroring not enabled on the pool\n',
    ],
    [
      'mirror image promote vm-1',
      `POST ${image}/mirror/promote`,
      refusal('EINVAL', 'image is already primary'),
      22,
      'farside: error promoting image to primary\nimage is already primary\n',
    ],
    [
      'mirror image promote vm-1',
      `POST ${image}/mirror/promote`,
      refusal('EINVAL', 'mirroring not enabled on the image'),
      22,
      'farside: mirroring not enabled on the image\n',
    ],
    [
      'mirror image demote vm-1',
      `POST ${image}/mirror/demote`,
      refusal('EINVAL', 'image is not primary'),
      22,
      'farside: error demoting image to non-primary\nimage is not primary\n',
    ],
    [
      'mirror image resync vm-1',
      `POST ${image}/mirror/resync`,
      refusal('EINVAL', 'error flagging image resync: image is primary'),
      22,
      'farside: error flagging image resync\nimage is primary\n',
    ],
    [
      'mirror image snapshot vm-1',
      `POST ${image}/mirror/snapshot`,
      refusal('EINVAL', 'x'),
      22,
      'farside: error creating snapshot: (22) Invalid argument\nx\n',
    ],
    [
      'snap create vm-1@s',
      `POST ${image}/snaps`,
      refusal('EROFS', 'image vm-1 is non-primary'),
      30,
      'farside: failed to create snapshot: (30) Read-only file system\nimage vm-1 is non-primary\n',
    ],
    [
      'snap rm vm-1@s',
      `DELETE ${image}/snaps/s`,
      refusal('ENOENT', ''),
      2,
      'farside: failed to remove snapshot: (2) No such file or directory\n',
    ],
    [
      'rename vm-1 vm-2',
      `PATCH ${image}`,
      refusal('EROFS', ''),
      30,
      'farside: rename error: (30) Read-only file system\n',
    ],
    [
      'rm vm-1',
      `DELETE ${image}`,
      refusal('ENOTEMPTY', 'it has'),
      39,
      "farside: image has snapshots - these must be deleted with 'farside snap purge' before the image can be removed.\n",
    ],
    [
      'image-meta set vm-1 k v',
      `PUT ${image}/meta/k`,
      refusal('EROFS', ''),
      30,
      'failed to set metadata k of image : (30) Read-only file system\nfarside: setting metadata failed: (30) Read-only file system\n',
    ],
    [
      'mirror pool disable rbd',
      'DELETE /v1/pools/rbd/mirror',
      refusal('EBUSY', 'mirror peers still registered'),
      16,
      'farside: mirror peers still registered\n',
    ],
    [
      'mirror snapshot schedule add -p rbd 1s',
      'POST /v1/schedules?pool=rbd',
      refusal('EINVAL', 'Invalid interval (1s)'),
      22,
      'farside: rbd mirror snapshot schedule add failed: (22) Invalid argument: Invalid interval (1s)\n',
    ],
    [
      'pool create rbd',
      'POST /v1/pools',
      refusal('EEXIST', 'pool rbd already exists'),
      17,
      'farside: pool rbd already exists\n',
    ],
    ['pool ls', 'GET /v1/pools', refusal('EWHATEVER', 'odd'), 5, 'farside: odd\n'],
  ])('%s: %s', async (line, request, answer, exitCode, stderr) => {
    expect(await cli(line, { [request]: answer })).toMatchObject({ exitCode, stdout: '', stderr });
  });

  test('resize: shrinking and standing still are refused before anything is sent', async () => {
    const answers = { [`GET ${image}`]: { body: imageInfo } };
    expect(await cli('resize vm-1 --size 4M', answers)).toMatchObject({
      exitCode: 22,
      stderr: 'farside: shrinking an image is only allowed with the --allow-shrink flag\n',
    });
    expect(await cli('resize vm-1 --size 8M', answers)).toMatchObject({
      exitCode: 22,
      stderr: 'farside: new size is equal to original size \n',
    });
  });
});

const imageInfo = {
  name: 'vm-1',
  zeta: 1,
  id: '10b1f4ac9edf',
  size: 8 * 2 ** 20,
  objects: 2,
  order: 22,
  object_size: 4 * 2 ** 20,
  snapshot_count: 0,
  block_name_prefix: 'rbd_data.10b1f4ac9edf',
  format: 2,
  features: ['layering'],
  op_features: [],
  flags: [],
  create_timestamp: 'Mon Nov 23 07:04:09 2026',
  access_timestamp: 'Mon Nov 23 07:04:09 2026',
  modify_timestamp: 'Mon Nov 23 07:04:09 2026',
};

describe('output', () => {
  test('json is printed as it came, on one line or indented by four', async () => {
    const answers = { [`GET ${image}`]: { body: imageInfo } };
    expect((await cli('info vm-1 --format json', answers)).stdout).toBe(`${JSON.stringify(imageInfo)}\n`);
    expect((await cli('info vm-1 --format json --pretty-format', answers)).stdout).toBe(
      `${JSON.stringify(imageInfo, null, 4)}\n`,
    );
  });

  test('ls: names, or with -l all there is; pages are put together', async () => {
    const line = (name: string): object => ({ image: name, id: 'x', size: 2 ** 20, format: 2 });
    const answers = {
      'GET /v1/pools/rbd/images': { body: { images: [line('a'), { ...line('a'), snapshot: 's' }], next: 'a' } },
      'GET /v1/pools/rbd/images?after=a': { body: { images: [line('b')] } },
    };
    expect((await cli('ls', answers)).stdout).toBe('a\nb\n');
    expect((await cli('ls --format json', answers)).stdout).toBe('["a","b"]\n');
    expect((await cli('ls -l rbd', answers)).stdout.split('\n')).toHaveLength(5);
  });

  test('mirror pool enable: says what it changed only where rbd does', async () => {
    const enable = (outcome: object): Record<string, Answer> => ({ 'PUT /v1/pools/rbd/mirror': { body: outcome } });
    expect(await cli('mirror pool enable rbd image', enable({ outcome: 'enabled', mode: 'image' }))).toMatchObject({
      stdout: '',
      exitCode: 0,
    });
    expect((await cli('mirror pool enable rbd image', enable({ outcome: 'unchanged', mode: 'image' }))).stdout).toBe(
      'farside: mirroring is already configured for image mode\n',
    );
    expect(
      (await cli('mirror pool enable rbd pool', enable({ outcome: 'switched', mode: 'pool', from: 'image' }))).stdout,
    ).toBe('note: changing mirroring mode from image to pool\n');
    expect(
      (await cli('mirror pool disable rbd', { 'DELETE /v1/pools/rbd/mirror': { body: { outcome: 'unchanged' } } }))
        .stdout,
    ).toBe('farside: mirroring is already disabled\n');
  });

  test('schedules: an empty level exits 2 and says nothing, in json too', async () => {
    const answers = { 'GET /v1/schedules': { body: [] }, 'GET /v1/schedules?recursive=true': { body: [] } };
    for (const line of ['mirror snapshot schedule ls', 'mirror snapshot schedule ls --format json'])
      expect(await cli(line, answers)).toMatchObject({ exitCode: 2, stdout: '', stderr: '' });
    // What is asked for is a list of levels then, and may well be empty.
    expect(await cli('mirror snapshot schedule ls -R --format json', answers)).toMatchObject({
      exitCode: 0,
      stdout: '[]\n',
      stderr: '',
    });
  });

  test('schedules: levels and items are sent as they were given', async () => {
    const { asked, exitCode } = await cli('mirror snapshot schedule add -p rbd --image vm-1 1d 14:00:00-05:00', {
      'POST /v1/schedules?pool=rbd&image=vm-1': {},
    });
    expect([exitCode, asked[0]!.body]).toEqual([0, { interval: '1d', startTime: '14:00:00-05:00' }]);
    const removal = await cli('mirror snapshot schedule rm -p rbd 1d', {
      'DELETE /v1/schedules?pool=rbd&interval=1d': {},
    });
    expect(removal.exitCode).toBe(0);
  });

  test('verbs say what rbd says', async () => {
    const answers: Record<string, Answer> = {
      [`POST ${image}/mirror`]: {},
      [`DELETE ${image}/mirror?force=true`]: {},
      [`POST ${image}/mirror/promote`]: {},
      [`POST ${image}/mirror/resync`]: {},
      [`POST ${image}/mirror/snapshot`]: { body: { id: 12 } },
    };
    const said = async (line: string): Promise<string> => (await cli(line, answers)).stdout;
    expect(await said('mirror image enable vm-1 snapshot')).toBe('Mirroring enabled\n');
    expect(await said('mirror image disable --force vm-1')).toBe('Mirroring disabled\n');
    expect(await said('mirror image promote --force vm-1')).toBe('Image promoted to primary\n');
    expect(await said('mirror image resync vm-1')).toBe('Flagged image for resync from primary\n');
    expect(await said('mirror image snapshot vm-1')).toBe('Snapshot ID: 12\n');
  });

  test('snap purge names what is protected', async () => {
    const { stdout } = await cli('snap purge vm-1', {
      [`DELETE ${image}/snaps`]: { body: { removed: ['a'], protected: ['b', 'c'] } },
    });
    expect(stdout).toBe(
      "farside: error removing snapshot(s) 'b, c', which are protected - these must be unprotected with 'farside snap unprotect'.\n",
    );
  });

  test('tokens: the new one is the only thing on stdout', async () => {
    const created = await cli('token create --scope pool:rbd --expires-in 12h', {
      'POST /v1/tokens': { body: { id: 'i', token: 'farside_new' } },
    });
    expect(created.stdout).toBe('farside_new\n');
    expect(created.asked[0]!.body).toEqual({ scope: 'pool:rbd', expiresInSeconds: 43_200 });
  });
});
