// `nbd serve`: images as disks, in the foreground, until it is interrupted.

import { resolve } from 'node:path';
import { attachLimitsDefault, type AttachLimits } from '../../attach/limits.ts';
import { FarsideError } from '../../errors.ts';
import { addressDefault, type Address } from '../../nbd/listen.ts';
import type { NbdServer } from '../../nbd/server.ts';
import { attachOwner } from '../../node/attach-owner.ts';
import { DiskCache } from '../../node/disk-cache.ts';
import { defineCommand } from '../command.ts';
import type { Context } from '../sites/context.ts';
import { registerServer } from '../nbd/devices.ts';
import { formatBytes } from '../parse/grammar.ts';
import { attachHint } from '../nbd/hints.ts';
import { openExports, type ImageExport } from '../nbd/exports.ts';
import { lastWords, serveExports, type Announced } from '../nbd/serving.ts';
import { tlsOf } from '../nbd/tls.ts';
import type { Output } from '../output/output.ts';
import { imageDeps } from '../sites/open-bucket.ts';
import { bytesOption, imageOrSnapsArgument, integerOption, switchOption, textOption } from '../parse/parameters.ts';
import { nextSignals } from '../signals.ts';

const { cacheBytes, readAheadBytes, pendingBytesMax } = attachLimitsDefault;
const cacheDirBytesDefault = 4 * 1024 ** 3;
type Disk = { cacheDir: string | undefined; cacheDirSize: number | undefined };

export const nbdServe = defineCommand({
  path: 'nbd serve',
  summary: 'serve images as disks over NBD',
  description: `Runs in the foreground until it is interrupted, then flushes, and gives the images back. An image can be attached by one writer at a
time, whom 'farside lock ls' shows; a writer that died on this machine is taken over from by itself. Snapshots, and what is served with
--read-only, are attached by nobody: they are served as they were at the start. The first image is the default export.
With one image and the defaults it takes up to 400 MiB of memory: about 220 for itself, its clients' requests and what its sockets received, and
for each image --cache-size, --pending-size, and up to 80 MiB of segments, blocks on their way and the map.
A flush returns when the bucket has what was written. Whoever can connect can read and write: there is no password, but certificates.`,
  arguments: { images: imageOrSnapsArgument },
  options: {
    port: integerOption('--port <port>', `TCP port; 0 is any that is free (default: ${defaultPort()})`, {
      min: 0,
      max: 65_535,
    }),
    bind: textOption('--bind <address>', 'address to listen on (default: 127.0.0.1)'),
    unix: textOption('--unix <path>', 'listen on this Unix socket, which is yours alone, instead of TCP'),
    readOnly: switchOption('--read-only', 'serve images as they are now, and attach none'),
    exclusive: switchOption('--exclusive', 'accepted: an image is always attached by one writer only'),
    force: switchOption('--force', 'take images away from who has them attached'),
    cacheSize: bytesOption(
      '--cache-size <size>',
      `memory for blocks of each image (default: ${formatBytes(cacheBytes)})`,
    ),
    readAhead: bytesOption(
      '--read-ahead <size>',
      `read ahead of sequential readers (default: ${formatBytes(readAheadBytes)})`,
    ),
    pendingSize: bytesOption(
      '--pending-size <size>',
      `memory for what the bucket does not have yet, of each image; then writers wait (default: ${formatBytes(pendingBytesMax)})`,
    ),
    wal: textOption(
      '--wal <directory>',
      'flushes return when this local directory has what was written; the bucket gets it a little later',
    ),
    cacheDir: textOption('--cache-dir <directory>', 'keep blocks that were read in this local directory too'),
    cacheDirSize: bytesOption(
      '--cache-dir-size <size>',
      `how much of the disk that may take, of all images (default: ${formatBytes(cacheDirBytesDefault)})`,
    ),
    quiesceHook: textOption(
      '--quiesce-hook <program>',
      "is run with an export's name and 'quiesce' before a snapshot of an image is taken, and with 'unquiesce' after it",
    ),
    tlsKey: textOption('--tls-key <file>', "TLS: the server's key (PEM)"),
    tlsCert: textOption('--tls-cert <file>', "TLS: the server's certificate (PEM)"),
    tlsCa: textOption('--tls-ca <file>', 'TLS: only clients with a certificate of this authority (PEM)'),
    tlsOptional: switchOption('--tls-optional', 'serve clients without TLS too'),
  },
  examples: [
    'farside nbd serve vm-1',
    'farside nbd serve vm-1 vm-2 --unix /run/farside/nbd.sock',
    'farside nbd serve backup/vm-1@before --port 10810',
    'farside nbd serve vm-1 --bind 0.0.0.0 --tls-key key.pem --tls-cert cert.pem --tls-ca ca.pem',
  ],
  async run({ args: { images }, options, context }) {
    const address = addressOf(options);
    const tls = tlsOf(options);
    const { terminal, output } = context;
    if ('host' in address && !isLoopback(address.host) && tls?.ca === undefined)
      output.note(`farside: whoever reaches ${address.host} can connect: --tls-ca lets in only whom it has signed`);
    const deps = imageDeps(await context.registration(), terminal);
    const disk = await diskOf(options, context);
    let opened: readonly ImageExport[] = [];
    const ended = nextSignals(() => lastWords(opened));
    const exports = await openExports(deps, images, {
      owner: attachOwner(terminal),
      limits: limitsOf(options),
      readOnly: options.readOnly,
      force: options.force,
      disk,
      walDirectory: options.wal === undefined ? undefined : resolve(options.wal),
      quiesceHook: options.quiesceHook === undefined ? undefined : resolve(options.quiesceHook),
      note: (line) => output.note(line),
      journal: (await context.client()).journal,
    });
    opened = exports;
    const { name } = await context.registration();
    let unregister = async (): Promise<void> => {};
    const announce = async (served: readonly Announced[], { addresses }: NbdServer): Promise<void> => {
      const devices = served.map(({ uri }, index) => ({ spec: images[index]!, uri }));
      unregister = await registerServer(context.home, name, devices).catch(notListed(output));
      for (const one of served) {
        output.line(`${one.name} is served (${one.description}): ${one.uri}`);
        output.line(attachHint(one, addresses[0]!));
      }
    };
    await serveExports({ exports, address, tls, ended, note: (line) => output.note(line) }, announce);
    await unregister();
  },
});

function diskOf({ cacheDir, cacheDirSize }: Disk, { terminal, output }: Context): Promise<DiskCache> | undefined {
  if (cacheDir === undefined && cacheDirSize !== undefined)
    throw new FarsideError('EINVAL', '--cache-dir-size is of --cache-dir');
  if (cacheDir === undefined) return undefined;
  const bytesMax = cacheDirSize ?? cacheDirBytesDefault;
  return DiskCache.open(resolve(cacheDir), { bytesMax, clock: terminal.clock, note: (line) => output.note(line) });
}

const notListed =
  (output: Output) =>
  (cause: unknown): (() => Promise<void>) => {
    output.note(`farside: 'device ls' will not show this server: ${(cause as Error).message}`);
    return async () => {};
  };

function defaultPort(): number {
  return 'port' in addressDefault ? addressDefault.port : 0;
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.');

type Where = { port: number | undefined; bind: string | undefined; unix: string | undefined };

function addressOf({ port, bind, unix }: Where): Address {
  if (unix === undefined) return { host: bind ?? '127.0.0.1', port: port ?? defaultPort() };
  if (port !== undefined || bind !== undefined)
    throw new FarsideError('EINVAL', '--unix is instead of --port and --bind');
  return { path: unix };
}

type Memory = { [K in 'cacheSize' | 'readAhead' | 'pendingSize']: number | undefined };

const limitsOf = ({ cacheSize, readAhead, pendingSize }: Memory): AttachLimits => ({
  ...attachLimitsDefault,
  ...(cacheSize !== undefined && { cacheBytes: cacheSize }),
  ...(readAhead !== undefined && { readAheadBytes: readAhead }),
  ...(pendingSize !== undefined && {
    pendingBytesMax: pendingSize,
    segmentBytesMax: Math.min(attachLimitsDefault.segmentBytesMax, Math.ceil(pendingSize / 2)),
  }),
});
