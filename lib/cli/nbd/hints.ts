// Owns the command lines that attach an export elsewhere, as `nbd serve` and `device map` print them.

import type { Address } from '../../nbd/listen.ts';
import type { Announced } from './serving.ts';

/** As a shell takes it. */
export const quoted = (word: string): string =>
  /^[\w%+,./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** The kernel's driver; a device that is not named is the first that is free. */
export function nbdClientCommand(name: string, address: Address, device = '/dev/nbd0'): string {
  const where = 'path' in address ? `-unix ${quoted(address.path)}` : `${address.host} ${address.port}`;
  return `nbd-client ${where} ${device} -name ${quoted(name)}`;
}

export const attachHint = ({ name, uri }: Announced, address: Address): string =>
  `  attach it: ${nbdClientCommand(name, address)}   qemu: -drive format=raw,file=${quoted(uri)}   copy it: nbdcopy ${quoted(uri)} disk.img`;
