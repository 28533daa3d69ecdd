// Owns the TLS settings of `nbd serve`: read from files, and of use, before anything is attached. Else a server would come up that
// nobody can connect to.

import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { FarsideError } from '../../errors.ts';
import type { TlsSettings } from '../../nbd/server.ts';

export type TlsFiles = { [K in 'tlsKey' | 'tlsCert' | 'tlsCa']: string | undefined } & { tlsOptional: boolean };

/** Undefined: no TLS. EINVAL: the files are not what they should be. What keeps them from being read is passed on. */
export function tlsOf({ tlsKey, tlsCert, tlsCa, tlsOptional }: TlsFiles): TlsSettings | undefined {
  if (tlsKey === undefined && tlsCert === undefined && tlsCa === undefined && !tlsOptional) return undefined;
  if (tlsKey === undefined || tlsCert === undefined)
    throw new FarsideError('EINVAL', 'TLS takes both --tls-key and --tls-cert');
  const [key, cert] = [readFileSync(tlsKey, 'utf8'), readFileSync(tlsCert, 'utf8')];
  if (!parseCertificate(tlsCert, cert).checkPrivateKey(parseKey(tlsKey, key)))
    throw new FarsideError('EINVAL', `${tlsKey} is not the key of the certificate in ${tlsCert}`);
  const ca = tlsCa === undefined ? undefined : readFileSync(tlsCa, 'utf8');
  if (tlsCa !== undefined) parseCertificate(tlsCa, ca ?? '');
  return { mode: tlsOptional ? 'allowed' : 'required', key, cert, ...(ca !== undefined && { ca }) };
}

function parseKey(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new FarsideError('EINVAL', `${path} holds no private key (PEM) that can be read without a passphrase`, {
      cause,
    });
  }
}

function parseCertificate(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new FarsideError('EINVAL', `${path} holds no certificate (PEM)`, { cause });
  }
}
