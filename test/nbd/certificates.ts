// Certificates made by openssl, in a directory, under the names that libnbd and qemu look for: ca-cert.pem, client-cert.pem,
// client-key.pem; the server's; and those of a stranger, whom another authority has signed.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findTool } from '../require.ts';

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export class Certificates {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    this.#makeAuthority('ca');
    this.#makeAuthority('stranger-ca');
    for (const name of ['server', 'client']) this.#make(name, 'ca');
    this.#make('stranger', 'stranger-ca');
  }

  path(name: string): string {
    return join(this.directory, `${name}.pem`);
  }

  pem(name: string): string {
    return readFileSync(this.path(name), 'utf8');
  }

  #openssl(...words: string[]): void {
    execFileSync(findTool('openssl')!, words, { cwd: this.directory, stdio: 'pipe' });
  }

  #makeAuthority(name: string): void {
    const files = ['-keyout', `${name}-key.pem`, '-out', `${name}-cert.pem`];
    this.#openssl('req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`, ...files);
  }

  #make(name: string, authority: string): void {
    this.#openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', `${name}-key.pem`, '-out', `${name}.csr`);
    writeFileSync(join(this.directory, 'names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
    const signer = ['-CA', `${authority}-cert.pem`, '-CAkey', `${authority}-key.pem`, '-CAcreateserial'];
    const made = ['-days', '2', '-extfile', 'names', '-out', `${name}-cert.pem`];
    this.#openssl('x509', '-req', '-in', `${name}.csr`, ...signer, ...made);
  }
}
