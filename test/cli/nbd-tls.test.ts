// TLS of `nbd serve`: files that no client could connect with are refused, each by its name.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { tlsOf, type TlsFiles } from '../../lib/cli/nbd/tls.ts';
import { Certificates } from '../nbd/certificates.ts';
import { makeDirectory } from '../nbd/served.ts';
import { requireTool } from '../require.ts';

const none = { tlsKey: undefined, tlsCert: undefined, tlsCa: undefined, tlsOptional: false };

test('without options there is no TLS, and with one of two it cannot be', () => {
  expect(tlsOf(none)).toBeUndefined();
  for (const one of [{ tlsKey: 'k' }, { tlsCert: 'c' }, { tlsCa: 'a' }, { tlsOptional: true }])
    expect(() => tlsOf({ ...none, ...one })).toThrow('TLS takes both --tls-key and --tls-cert');
});

describe.skipIf(!requireTool('openssl'))('files', () => {
  let certificates: Certificates;
  let no: string;
  beforeAll(() => {
    const { directory, remove } = makeDirectory();
    certificates = new Certificates(directory);
    no = join(directory, 'no.pem');
    writeFileSync(no, '');
    return remove;
  });

  const path = (name: string): string => certificates.path(name);
  const fitting = () => ({
    ...none,
    tlsKey: path('server-key'),
    tlsCert: path('server-cert'),
    tlsCa: path('ca-cert'),
  });

  test('that fit are taken as they are', () => {
    const [key, cert, ca] = ['server-key', 'server-cert', 'ca-cert'].map((name) => certificates.pem(name));
    expect(tlsOf(fitting())).toEqual({ mode: 'required', key, cert, ca });
    expect(tlsOf({ ...fitting(), tlsCa: undefined, tlsOptional: true })).toEqual({ mode: 'allowed', key, cert });
  });

  test('that are not there, hold something else, or do not belong together are named', () => {
    const other = path('client-key');
    const refusals: [files: Partial<TlsFiles>, code: string, said: string][] = [
      [{ tlsKey: `${other}.absent` }, 'ENOENT', `${other}.absent`],
      [{ tlsKey: no }, 'EINVAL', `${no} holds no private key`],
      [{ tlsCert: no }, 'EINVAL', `${no} holds no certificate`],
      [{ tlsCa: no }, 'EINVAL', `${no} holds no certificate`],
      [{ tlsKey: other }, 'EINVAL', `${other} is not the key of the certificate in ${path('server-cert')}`],
    ];
    for (const [files, code, said] of refusals)
      expect(() => tlsOf({ ...fitting(), ...files })).toThrow(
        expect.objectContaining({ code, message: expect.stringContaining(said) }),
      );
  });
});
