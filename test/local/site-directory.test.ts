import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { choosePort, isFree, loopback } from '../../infra/local/free-port.ts';
import {
  checkSiteName,
  readLocalSite,
  readOrCreateSecrets,
  writeLocalSite,
  type LocalSite,
} from '../../infra/local/site-directory.ts';
import { FarsideError } from '../../lib/errors.ts';
import { systemRandom } from '../../lib/random.ts';
import { createServer } from 'node:net';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'farside ünï '));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('site directory', () => {
  test('secrets are made once, with 256 random bits each, in a file that only its owner reads', () => {
    const first = readOrCreateSecrets(directory, systemRandom);
    expect(first.adminToken).toMatch(/^fs_admin_[\w-]{43}$/);
    expect(Buffer.from(first.secret, 'base64')).toHaveLength(32);
    expect(statSync(join(directory, 'site-secrets.json')).mode & 0o777).toBe(0o600);
    expect(readOrCreateSecrets(directory, systemRandom)).toEqual(first);
  });

  test('secrets that others may read are refused with EACCES and the command that repairs it', () => {
    const { adminToken } = readOrCreateSecrets(directory, systemRandom);
    chmodSync(join(directory, 'site-secrets.json'), 0o644);
    const failure = failureOf(() => readOrCreateSecrets(directory, systemRandom));
    expect(failure.code).toBe('EACCES');
    expect(failure.message).toContain('chmod 600');
    expect(failure.message).not.toContain(adminToken);
  });

  test('malformed secrets are EBADMSG, name the file, and are left as they are', () => {
    const path = join(directory, 'site-secrets.json');
    writeFileSync(path, '{"version":1,"adminToken":"fs_admin_x"}', { mode: 0o600 });
    const failure = failureOf(() => readOrCreateSecrets(directory, systemRandom));
    expect(failure.code).toBe('EBADMSG');
    expect(failure.message).toContain(path);
    expect(readFileSync(path, 'utf8')).toContain('fs_admin_x');
  });

  test('what a site is survives in its directory; an empty directory is no site', () => {
    expect(readLocalSite(directory)).toBeUndefined();
    const site: LocalSite = { version: 1, name: 'site-a', platform: 'node', port: 20_001 };
    writeLocalSite(directory, site);
    expect(readLocalSite(directory)).toEqual(site);
  });

  test.each(['', 'Site', 'a_b', '-a', 'a-', 'a/b', '../a', 'x'.repeat(41)])(
    'the name %j is refused with EINVAL',
    (name) => {
      expect(failureOf(() => checkSiteName(name)).code).toBe('EINVAL');
    },
  );
});

describe('ports', () => {
  test('a chosen port is free, on loopback, and below the range of outgoing connections', async () => {
    const port = await choosePort(systemRandom);
    expect(port).toBeGreaterThanOrEqual(20_000);
    expect(port).toBeLessThan(32_000);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, loopback, resolve));
    expect(await isFree(port)).toBe(false);
    await new Promise((resolve) => server.close(resolve));
    expect(await isFree(port)).toBe(true);
  });
});

function failureOf(work: () => unknown): FarsideError {
  try {
    work();
  } catch (cause) {
    if (cause instanceof FarsideError) return cause;
    throw cause;
  }
  throw new Error('expected a failure');
}
