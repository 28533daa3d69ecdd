// Owns listening: on TCP, or on a Unix socket that only its owner may open. A socket that a dead server left is taken over; one that
// somebody listens on is not.

import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, type AddressInfo, type Server } from 'node:net';
import { FarsideError } from '../errors.ts';

export type Address = { host: string; port: number } | { path: string };

export const addressDefault: Address = { host: '127.0.0.1', port: 10809 };

/** Answers the address with the port that was given. */
export async function listen(server: Server, address: Address): Promise<Address> {
  if ('path' in address) await removeStale(address.path);
  try {
    await ('path' in address ? listenPrivately(server, address.path) : listenOn(server, address));
  } catch (cause) {
    throw new FarsideError(codeOf(cause), `cannot listen on ${addressText(address)}: ${(cause as Error).message}`, {
      cause,
    });
  }
  return 'path' in address ? address : { host: address.host, port: (server.address() as AddressInfo).port };
}

export function addressText(address: Address): string {
  if ('path' in address) return address.path;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** As clients take it; `scheme` is nbd or nbds. */
export function addressUri(address: Address, scheme = 'nbd', exportName = ''): string {
  const name = exportName === '' ? '' : `/${exportName.split('/').map(encodeURIComponent).join('/')}`;
  if ('path' in address) return `${scheme}+unix://${name || '/'}?socket=${encodeURI(address.path)}`;
  return `${scheme}://${addressText(address)}${name}`;
}

function listenOn(server: Server, where: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The socket is bound before `listen` returns, so the mask is this process's for no longer than that. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  const mask = process.umask(0o177);
  let listening: Promise<void>;
  try {
    listening = listenOn(server, { path });
  } finally {
    process.umask(mask);
  }
  await listening;
  await chmod(path, 0o600);
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new FarsideError('EEXIST', `${path} is not a socket: name another path, or remove it`);
  if (await hasListener(path))
    throw new FarsideError('EBUSY', `another server listens on ${path}: stop it, or name another path`);
  await unlink(path);
}

function hasListener(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // Whatever else stands in the way, it is not known to be dead.
    probe.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

function codeOf(cause: unknown): 'EBUSY' | 'EACCES' | 'EINVAL' {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'EBUSY';
  return code === 'EACCES' || code === 'EPERM' ? 'EACCES' : 'EINVAL';
}
