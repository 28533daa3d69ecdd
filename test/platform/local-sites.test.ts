import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { platforms } from '../../infra/local/site-directory.ts';
import { readDocument } from '../../lib/bucket/document.ts';
import { keyText } from '../../lib/bucket/keys.ts';
import { assert } from '../../lib/errors.ts';
import { heartbeatSchema } from '../../lib/mirror/status/status.ts';
import { processesWith, runFarside, startSites, waitUntil, type Site, type Sites } from './sites.ts';

const isLinux = process.platform === 'linux';

/** Sites on S3 are in mirror-aws.test.ts. */
const own = platforms.filter((platform) => platform !== 'aws');

describe.each(own)('local sites on %s', (platform) => {
  let sites: Sites;
  let a: Site;
  let b: Site;

  beforeAll(async () => {
    sites = await startSites(['site-a', 'site-b'], { platform, tickSeconds: 1 });
    const [first, second] = sites.all;
    assert(first !== undefined && second !== undefined, 'two sites were started');
    [a, b] = [first, second];
  });
  afterAll(() => sites.stop());

  test('two run side by side, each with a URL, an identity and a token of its own', async () => {
    expect(a.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(new Set([a.url, b.url]).size).toBe(2);
    const answers = await Promise.all([a, b].map(async (site) => (await site.fetch('/v1/site')).json()));
    expect(answers).toMatchObject([{ name: 'site-a' }, { name: 'site-b' }]);
    const crossed = await fetch(new URL('/v1/site', b.url), { headers: { authorization: `Bearer ${a.token}` } });
    expect(crossed.ok).toBe(false);
    expect((await fetch(new URL('/v1/site', a.url))).ok).toBe(false);
  });

  test('site ls tells name, url, platform, pid, running and directory, and no token', async () => {
    const listed = await runFarside(sites.home, ['site', 'ls', '--format', 'json']);
    const line = (site: Site) => ({
      name: site.name,
      url: site.url,
      platform,
      pid: site.server()?.pid,
      running: true,
      directory: site.directory,
    });
    expect(JSON.parse(listed.stdout)).toEqual([line(a), line(b)]);
    expect(listed.stdout).not.toContain('fs_admin_');
    const plain = await runFarside(sites.home, ['site', 'ls']);
    expect(plain.stdout).toContain(a.url);
  });

  test('a second server on the same directory is refused with EBUSY and the pid of the first', async () => {
    const refused = await a.farside('site', 'start', '--name', 'site-a', '--detach');
    expect(refused.code).toBe(16);
    expect(refused.stderr).toContain(`(pid ${a.server()?.pid})`);
  });

  test('a restart keeps URL, token and objects', async () => {
    const { url, token } = a;
    const key = keyText({ kind: 'pack', imageId: 'ab'.repeat(16), packId: '01'.repeat(16) });
    await a.bucket().create(key, new Uint8Array([1, 2, 3]));
    await a.stop();
    expect(a.server()).toBeUndefined();
    await expect(fetch(new URL('/health', url))).rejects.toThrow('fetch failed');
    const listed = await runFarside(sites.home, ['site', 'ls', '--format', 'json']);
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name: 'site-a', pid: null, running: false }, { running: true }]);
    await a.start();
    expect({ url: a.url, token: a.token }).toEqual({ url, token });
    expect(await a.bucket().get(key)).toMatchObject({ status: 'found', body: new Uint8Array([1, 2, 3]) });
  });

  test('kill -9 of the server in the midst of writing loses nothing acknowledged, and leaves no process behind', async () => {
    const bucket = a.bucket();
    const workerdPid = a.workerdPid();
    const acknowledged: string[] = [];
    let stop = false;
    const write = async (lane: number): Promise<void> => {
      for (let index = 0; !stop; index += 1) {
        const packId = `${lane}${index.toString(16).padStart(31, '0')}`;
        const key = keyText({ kind: 'pack', imageId: 'cd'.repeat(16), packId });
        const outcome = await bucket.create(key, new Uint8Array(20_000).fill(index)).catch(() => undefined);
        if (outcome?.created) acknowledged.push(key);
        else return;
      }
    };
    const writers = [0, 1, 2, 3].map(write);
    await waitUntil(() => acknowledged.length > 60, 'some writes are acknowledged');
    await a.kill();
    stop = true;
    if (isLinux && workerdPid !== undefined) await waitUntil(() => !isAlive(workerdPid), 'workerd is gone');
    if (isLinux) await waitUntil(() => processesWith(`${a.directory}/`).length === 0, 'no process of the site is left');
    await a.start();
    const kept = await Promise.all(acknowledged.map(async (key) => (await a.bucket().head(key))?.bytes));
    expect(kept).toEqual(acknowledged.map(() => 20_000));
    await Promise.all(writers);
  });

  test.runIf(isLinux && platform === 'miniflare')(
    'a workerd whose guard was killed along with the server is ended by the next start',
    async () => {
      const workerdPid = a.workerdPid();
      assert(workerdPid !== undefined, 'workerd is on record');
      for (const pid of processesWith('farside-guard')) {
        if (processesWith(`${a.directory}/`).includes(pid)) process.kill(pid, 'SIGKILL');
      }
      await a.kill();
      expect(isAlive(workerdPid)).toBe(true);
      await a.start();
      expect(isAlive(workerdPid)).toBe(false);
      expect(a.workerdPid()).not.toBe(workerdPid);
    },
  );

  test('ticks come by themselves, at once and on', async () => {
    const beat = async (): Promise<number> => (await readHeartbeat(a)) ?? 0;
    const first = await beat();
    await waitUntil(async () => (await beat()) > first, 'a further tick came');
    expect(a.log()).not.toContain('tick failed');
  });

  test('secrets are for their owner only, and stand in no log', () => {
    expect(statSync(join(a.directory, 'site-secrets.json')).mode & 0o777).toBe(0o600);
    expect(statSync(join(sites.home, 'sites.json')).mode & 0o777).toBe(0o600);
    expect(a.log()).not.toContain(a.token);
    const { secret } = JSON.parse(readFileSync(join(a.directory, 'site-secrets.json'), 'utf8'));
    expect(a.log()).not.toContain(secret);
  });

  test('the bucket holds no token, only hashes', async () => {
    const site = await a.bucket().get(keyText({ kind: 'site' }));
    assert(site.status === 'found', 'a site has its document');
    expect(new TextDecoder().decode(site.body)).not.toContain(a.token);
  });

  describe('while it does not run', () => {
    beforeAll(() => b.stop());
    afterAll(() => b.start());

    test('it can be stopped again', async () => {
      expect(await b.farsideOk('site', 'stop', '--name', 'site-b')).toBe('site-b does not run');
    });

    test('another name, or another platform, on its directory is refused with EINVAL', async () => {
      const renamed = await b.farside('site', 'start', '--name', 'site-c', '--dir', b.directory, '--detach');
      expect(renamed.code).toBe(22);
      expect(renamed.stderr).toContain("belongs to site 'site-b'");
      const other = platform === 'node' ? 'miniflare' : 'node';
      const moved = await b.farside('site', 'start', '--name', 'site-b', '--platform', other, '--detach');
      expect(moved.code).toBe(22);
      expect(moved.stderr).toContain(`start it with --platform ${platform}`);
    });

    test('a port that was taken meanwhile is EBUSY, and nothing is left running', async () => {
      const server = createServer();
      const { port } = new URL(b.url);
      await new Promise<void>((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
      const failed = await b.farside('site', 'start', '--name', 'site-b', '--detach');
      expect(failed.code).toBe(16);
      expect(failed.stderr).toContain(`port ${port} is in use`);
      expect(b.server()).toBeUndefined();
      await new Promise((resolve) => server.close(resolve));
    });

    test('secrets that others may read stop a detached start, which says why', async () => {
      const secrets = join(b.directory, 'site-secrets.json');
      chmodSync(secrets, 0o644);
      const failed = await b.farside('site', 'start', '--name', 'site-b', '--detach');
      expect(failed.code).toBe(5);
      expect(failed.stderr).toContain('chmod 600');
      expect(b.server()).toBeUndefined();
      chmodSync(secrets, 0o600);
    });
  });
});

describe('the list of sites', () => {
  let sites: Sites;
  let a: Site;

  beforeAll(async () => {
    sites = await startSites(['site-a'], { platform: 'node' });
    const [first] = sites.all;
    assert(first !== undefined, 'a site was started');
    a = first;
  });
  afterAll(() => sites.stop());

  test('a site is added by URL and token file, from any home', async () => {
    const home = join(sites.home, 'another home');
    mkdirSync(home);
    const tokenFile = join(home, 'token');
    writeFileSync(tokenFile, `${a.token}\n`);
    const added = await runFarside(home, ['site', 'add', '--name', 'far', '--url', a.url, '--token-file', tokenFile]);
    expect(added).toMatchObject({ code: 0, stderr: '' });
    const listed = await runFarside(home, ['site', 'ls', '--format', 'json']);
    expect(JSON.parse(listed.stdout)).toEqual([
      { name: 'far', url: a.url, platform: 'node', pid: null, running: true, directory: null },
    ]);
    expect((await runFarside(home, ['--cluster', 'far', 'pool', 'ls'])).code).toBe(0);
    const stopped = await runFarside(home, ['site', 'stop', '--name', 'far']);
    expect(stopped).toMatchObject({ code: 22 });
    expect((await runFarside(home, ['site', 'remove', '--name', 'far'])).code).toBe(0);
    expect((await runFarside(home, ['site', 'ls', '--format', 'json'])).stdout.trim()).toBe('[]');
  });

  test('a wrong token is refused when the site is added, and not repeated', async () => {
    const home = join(sites.home, 'third home');
    mkdirSync(home);
    const wrong = `fs_admin_${'x'.repeat(43)}`;
    writeFileSync(join(home, 'token'), wrong);
    const added = await runFarside(home, [
      'site',
      'add',
      '--name',
      'far',
      '--url',
      a.url,
      '--token-file',
      join(home, 'token'),
    ]);
    expect(added.code).not.toBe(0);
    expect(added.stderr).not.toContain(wrong);
    expect(existsSync(join(home, 'sites.json'))).toBe(false);
  });

  test('a token is not sent to a plain http address elsewhere', async () => {
    writeFileSync(join(sites.home, 'token'), a.token);
    const words = [
      'site',
      'add',
      '--name',
      'far',
      '--url',
      'http://site.example',
      '--token-file',
      join(sites.home, 'token'),
    ];
    expect(await runFarside(sites.home, words)).toMatchObject({ code: 22 });
  });

  test('a running site is not forgotten; a stopped one is, and comes back from its directory with the same URL', async () => {
    const { url } = a;
    expect((await a.farside('site', 'remove', '--name', 'site-a')).code).toBe(16);
    await a.stop();
    await runFarside(sites.home, ['site', 'remove', '--name', 'site-a']);
    expect((await runFarside(sites.home, ['site', 'stop', '--name', 'site-a'])).code).toBe(2);
    await a.start();
    expect(a.url).toBe(url);
  });

  test('in the foreground it prints one line and ends at an interrupt, leaving no lock', async () => {
    await a.stop();
    const words = ['site', 'start', '--name', 'site-a'];
    const running = runFarside(sites.home, words);
    await waitUntil(() => a.server() !== undefined, 'it runs');
    await waitUntil(
      async () => (await fetch(new URL('/health', a.url)).catch(() => undefined))?.ok ?? false,
      'it answers',
    );
    process.kill(a.server()?.pid ?? 0, 'SIGINT');
    const { code, stdout } = await running;
    expect({ code, lines: stdout.trim().split('\n').length }).toEqual({ code: 0, lines: 1 });
    expect(readdirSync(a.directory)).not.toContain('site.lock');
  });
});

async function readHeartbeat(site: Site): Promise<number | undefined> {
  const stored = await readDocument(site.bucket(), keyText({ kind: 'heartbeat' }), heartbeatSchema);
  return stored?.value.tickedAtMs;
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
