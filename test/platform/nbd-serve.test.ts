// `farside nbd serve` as a user runs it: what it prints, who may attach an image, and how it ends.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireTool } from '../require.ts';
import { Certificates } from '../nbd/certificates.ts';
import { runTool, toolOk } from '../nbd/served.ts';
import { noise, sha256, sha256OfFile } from './mirror-pair.ts';
import { killServed, NbdProcess } from './nbd-process.ts';
import { startSites, type Site, type Sites } from './sites.ts';

const mebibyte = 2 ** 20;

let sites: Sites;
let a: Site;
let directory: string;
beforeAll(async () => {
  sites = await startSites(['site-a'], { platform: 'node', runsHere: true });
  a = sites.all[0]!;
  directory = mkdtempSync(join(tmpdir(), 'farside-serve-'));
  await a.farsideOk('pool', 'create', 'rbd');
});
afterAll(async () => {
  killServed();
  await sites?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const file = (name: string): string => join(directory, name);

/** A directory as clients look for it, for one who shows the certificate of that name; `nobody` has none. */
function identity(certificates: Certificates, name: string): string {
  const own = file(`identity of ${name}`.replaceAll(' ', '-'));
  if (existsSync(own)) return own;
  mkdirSync(own);
  copyFileSync(certificates.path('ca-cert'), join(own, 'ca-cert.pem'));
  if (name === 'nobody') return own;
  for (const part of ['cert', 'key'])
    copyFileSync(certificates.path(`${name}-${part}`), join(own, `client-${part}.pem`));
  return own;
}

let socketCount = 0;
const serve = (images: string[], ...words: string[]): Promise<NbdProcess> =>
  NbdProcess.start(a, { images, socket: file(`${(socketCount += 1)}.sock`), words });

describe.skipIf(!requireTool('nbdcopy'))('nbd serve', { timeout: 120_000 }, () => {
  test('serves images and snapshots from one process, the first by the empty name too', async () => {
    const content = noise('served', 3 * mebibyte);
    writeFileSync(file('disk.raw'), content);
    await a.farsideOk('import', file('disk.raw'), 'one');
    await a.farsideOk('snap', 'create', 'one@s');
    await a.farsideOk('create', 'two', '--size', '4M');
    const served = await serve(['one', 'one@s', 'two']);
    expect([...served.uris.keys()]).toEqual(['rbd/one', 'rbd/one@s', 'rbd/two']);
    writeFileSync(file('other.raw'), noise('other', 3 * mebibyte));
    await toolOk('nbdcopy', ['--flush', file('other.raw'), served.uri('rbd/one')]);
    await toolOk('nbdcopy', [served.uri('rbd/one@s'), file('snapshot.raw')]);
    await toolOk('nbdcopy', [served.uri('rbd/one').replace('/rbd/one', '/'), file('head.raw')]);
    expect(await sha256OfFile(file('snapshot.raw'))).toBe(sha256(content));
    expect(await sha256OfFile(file('head.raw'))).toBe(sha256(noise('other', 3 * mebibyte)));
    expect(await toolOk('nbdinfo', ['--list', served.uri('rbd/one')])).toMatch(/rbd\/one@s[^]*is_read_only: true/);
    expect(await served.stop()).toMatchObject({ code: 0, stderr: '' });
    expect(await a.farsideOk('lock', 'ls', 'one')).toBe('');
    await a.farsideOk('export', 'one', file('exported.raw'));
    expect(await sha256OfFile(file('exported.raw'))).toBe(sha256(noise('other', 3 * mebibyte)));
  });

  test('an attached image has a lock and a watcher, and a second writer is told whose', async () => {
    await a.farsideOk('create', 'locked', '--size', '4M');
    const served = await serve(['locked']);
    const [lock] = JSON.parse(await a.farsideOk('lock', 'ls', 'locked', '--format', 'json')) as [
      { id: string; locker: string; address: string },
    ];
    expect(lock).toEqual({
      id: expect.stringMatching(/^auto \d+$/),
      locker: expect.stringMatching(/^client\.\d+$/),
      address: expect.stringMatching(new RegExp(`^.+:0/${served.pid}$`)),
    });
    expect(await a.farsideOk('status', 'locked')).toBe(
      `Watchers:\n\twatcher=${lock.address} ${lock.locker} cookie=${lock.id.slice(5)}`,
    );
    const second = await a.farside('nbd', 'serve', 'locked', '--unix', file('second.sock'));
    expect(second.code).toBe(16);
    expect(second.stderr).toContain(`lock break rbd/locked '${lock.id}' ${lock.locker}`);
    expect(await served.stop('SIGINT')).toMatchObject({ code: 0 });
  });

  test('a lock that is broken ends its server with an error, and loses nothing that was flushed', async () => {
    await a.farsideOk('create', 'broken', '--size', '4M');
    const served = await serve(['broken']);
    writeFileSync(file('flushed.raw'), noise('flushed', 4 * mebibyte));
    await toolOk('nbdcopy', ['--flush', file('flushed.raw'), served.uri('rbd/broken')]);
    const [lock] = JSON.parse(await a.farsideOk('lock', 'ls', 'broken', '--format', 'json')) as [
      { id: string; locker: string },
    ];
    await a.farsideOk('lock', 'break', 'broken', lock.id, lock.locker);
    const ended = await served.ended();
    expect(ended.code).toBe(108);
    expect(ended.stderr).toContain('rbd/broken: this writer lost the image');
    await a.farsideOk('export', 'broken', file('broken.raw'));
    expect(await sha256OfFile(file('broken.raw'))).toBe(sha256(noise('flushed', 4 * mebibyte)));
  });

  test('an image whose server was killed is attached again at once, with all that was flushed', async () => {
    await a.farsideOk('create', 'killed', '--size', '4M');
    const killed = await serve(['killed']);
    writeFileSync(file('kept.raw'), noise('kept', 4 * mebibyte));
    await toolOk('nbdcopy', ['--flush', file('kept.raw'), killed.uri('rbd/killed')]);
    await killed.stop('SIGKILL');
    const next = await serve(['killed']);
    await toolOk('nbdcopy', [next.uri('rbd/killed'), file('kept.out')]);
    expect(await sha256OfFile(file('kept.out'))).toBe(sha256(noise('kept', 4 * mebibyte)));
    expect(await next.stop()).toMatchObject({ code: 0 });
  });

  test('a write-ahead log is emptied by the next server, and gone after a clean end', async () => {
    await a.farsideOk('create', 'logged', '--size', '4M');
    const killed = await serve(['logged'], '--wal', file('wal'));
    writeFileSync(file('logged.raw'), noise('logged', 4 * mebibyte));
    await toolOk('nbdcopy', ['--flush', file('logged.raw'), killed.uri('rbd/logged')]);
    await killed.stop('SIGKILL');
    const next = await serve(['logged'], '--wal', file('wal'));
    expect(next.stderr).toMatch(/rbd\/logged: \d+ segments of the write-ahead log are in the bucket/);
    await toolOk('nbdcopy', [next.uri('rbd/logged'), file('logged.out')]);
    expect(await sha256OfFile(file('logged.out'))).toBe(sha256(noise('logged', 4 * mebibyte)));
    expect(await next.stop()).toMatchObject({ code: 0 });
    expect(readdirSync(file('wal'), { recursive: true }).filter((name) => String(name).endsWith('.wal'))).toEqual([]);
  });

  test.skipIf(!requireTool('openssl'))(
    'TLS: clients whose certificate the authority has signed come in, and nobody else; plain ones where it is optional',
    async () => {
      mkdirSync(file('certificates'));
      const certificates = new Certificates(file('certificates'));
      const options = (server: string): string[] => [
        '--port',
        '0',
        '--tls-key',
        certificates.path(`${server}-key`),
        '--tls-cert',
        certificates.path(`${server}-cert`),
        '--tls-ca',
        certificates.path('ca-cert'),
      ];
      await a.farsideOk('create', 'secret', '--size', '4M');
      const served = await NbdProcess.start(a, { images: ['secret'], words: options('server') });
      const uri = served.uri('rbd/secret').replace('127.0.0.1', 'localhost');
      expect(uri).toMatch(/^nbds:/);
      const as = (name: string): string => `${uri}?tls-certificates=${identity(certificates, name)}`;
      writeFileSync(file('secret.raw'), noise('secret', 4 * mebibyte));
      await toolOk('nbdcopy', ['--flush', file('secret.raw'), as('client')]);
      const credentials = `tls-creds-x509,id=tls,dir=${identity(certificates, 'client')},endpoint=client`;
      const opened = `driver=nbd,host=localhost,port=${new URL(uri).port},export=rbd/secret,tls-creds=tls`;
      await toolOk('qemu-img', ['convert', '--object', credentials, '--image-opts', opened, file('secret.out')]);
      expect(await sha256OfFile(file('secret.out'))).toBe(await sha256OfFile(file('secret.raw')));
      for (const name of ['stranger', 'nobody'])
        expect(await runTool('nbdinfo', [as(name)]), name).toMatchObject({ code: 1 });
      expect((await runTool('nbdinfo', [uri.replace('nbds:', 'nbd:')])).code).toBe(1);
      expect(await served.stop()).toMatchObject({ code: 0 });

      // A server that the authority has not signed is not talked to; one that is may do without TLS.
      const impostor = await NbdProcess.start(a, {
        images: ['secret'],
        words: [...options('stranger'), '--tls-optional'],
      });
      const open = impostor.uri('rbd/secret');
      expect(open).toMatch(/^nbd:/);
      expect(await toolOk('nbdinfo', ['--size', open])).toBe(`${4 * mebibyte}\n`);
      const secured = `${open.replace('nbd://127.0.0.1', 'nbds://localhost')}?tls-certificates=`;
      expect((await runTool('nbdinfo', [`${secured}${identity(certificates, 'client')}`])).code).toBe(1);
      expect(await impostor.stop()).toMatchObject({ code: 0 });
    },
  );

  test('runs its quiesce hook around a snapshot, and a hook that fails fails it with its errno', async () => {
    await a.farsideOk('create', 'stilled', '--size', '4M');
    const hook = file('hook.sh');
    const script = `#!/bin/sh\necho "$1 $2" >> ${file('hook.log')}\ntest "$2" = unquiesce || test ! -e ${file('no')}\n`;
    writeFileSync(hook, script, { mode: 0o755 });
    const served = await serve(['stilled'], '--quiesce-hook', hook);
    writeFileSync(file('unflushed.raw'), noise('unflushed', 4 * mebibyte));
    await toolOk('nbdcopy', [file('unflushed.raw'), served.uri('rbd/stilled')]);
    await a.farsideOk('snap', 'create', 'stilled@s');
    await a.farsideOk('export', 'stilled@s', file('stilled.raw'));
    expect(await sha256OfFile(file('stilled.raw'))).toBe(sha256(noise('unflushed', 4 * mebibyte)));
    writeFileSync(file('no'), '');
    const refused = await a.farside('snap', 'create', 'stilled@t');
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('failed to create snapshot: (1) Operation not permitted'),
    });
    await a.farsideOk('snap', 'create', 'stilled@u', '--skip-quiesce');
    expect(await served.stop()).toMatchObject({ code: 0 });
    const call = (action: string): string => `rbd/stilled ${action}\n`;
    expect(readFileSync(file('hook.log'), 'utf8')).toBe(
      [call('quiesce'), call('unquiesce'), call('quiesce'), call('unquiesce')].join(''),
    );
  });

  test('what this machine serves is listed, and unmapped with everything that was written', async () => {
    await a.farsideOk('create', 'mapped', '--size', '4M');
    await a.farsideOk('create', 'mapped-too', '--size', '4M');
    await a.farsideOk('snap', 'create', 'mapped@s');
    expect(await a.farsideOk('device', 'ls')).toBe('');
    const [one, two] = [await serve(['mapped']), await serve(['mapped@s', 'mapped-too'])];
    const devices = JSON.parse(await a.farsideOk('device', 'ls', '--format', 'json')) as {
      id: number;
      image: string;
    }[];
    const shared = { pool: 'rbd', namespace: '', site: 'site-a' };
    const rows = [
      { ...shared, id: one.pid, image: 'mapped', snap: '-', device: one.uri('rbd/mapped') },
      { ...shared, id: two.pid, image: 'mapped', snap: 's', device: two.uri('rbd/mapped@s') },
      { ...shared, id: two.pid, image: 'mapped-too', snap: '-', device: two.uri('rbd/mapped-too') },
    ];
    expect(devices.toSorted((x, y) => x.id - y.id)).toEqual(rows.toSorted((x, y) => x.id - y.id));
    expect(await a.farsideOk('device', 'ls')).toMatch(
      /^id +pool +namespace +image +snap +device *\n\d+ +rbd +mapped +[-s]/,
    );
    writeFileSync(file('mapped.raw'), noise('mapped', 4 * mebibyte));
    await toolOk('nbdcopy', [file('mapped.raw'), one.uri('rbd/mapped')]);

    expect(await a.farside('device', 'unmap', 'absent')).toMatchObject({
      code: 22,
      stderr: expect.stringContaining('unmap failed: (22) Invalid argument\nrbd/absent: not a mapped image'),
    });
    expect(await a.farside('device', 'unmap', 'mapped-too')).toMatchObject({ code: 16 });
    await a.farsideOk('device', 'unmap', 'mapped');
    expect(await one.ended()).toMatchObject({ code: 0 });
    await a.farsideOk('export', 'mapped', file('mapped.out'));
    expect(await sha256OfFile(file('mapped.out'))).toBe(sha256(noise('mapped', 4 * mebibyte)));
    await a.farsideOk('device', 'unmap', String(two.pid));
    expect(await two.ended()).toMatchObject({ code: 0 });
    expect(await a.farsideOk('device', 'ls')).toBe('');
  });

  test('takes an image away from its writer by force', async () => {
    await a.farsideOk('create', 'forced', '--size', '4M');
    const first = await serve(['forced']);
    const second = await serve(['forced'], '--force');
    expect((await first.ended()).code).toBe(108);
    expect(await second.stop()).toMatchObject({ code: 0 });
  });

  test('options that contradict each other, and images that are not there, are refused before anything is attached', async () => {
    await a.farsideOk('create', 'free', '--size', '4M');
    expect(await a.farside('nbd', 'serve', 'free', '--unix', file('x'), '--port', '1')).toMatchObject({ code: 22 });
    expect(await a.farside('nbd', 'serve', 'free', 'free')).toMatchObject({ code: 22 });
    writeFileSync(file('no.pem'), 'this is no PEM\n');
    const tls = ['--tls-key', file('no.pem'), '--tls-cert', file('no.pem')];
    expect(await a.farside('nbd', 'serve', 'free', '--port', '0', ...tls)).toMatchObject({ code: 22, stdout: '' });
    expect(await a.farside('nbd', 'serve', 'free', 'absent', '--unix', file('x'))).toMatchObject({ code: 2 });
    expect(await a.farsideOk('lock', 'ls', 'free')).toBe('');
  });
});
