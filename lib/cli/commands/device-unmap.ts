// `device unmap`: ends the process that serves an image on this machine, and waits until it has given the image back.

import type { Clock } from '../../clock.ts';
import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import { defineCommand, type Argument } from '../command.ts';
import { endServer, isServing, listServers, wasLost, type Server } from '../nbd/devices.ts';
import { formatSpec } from '../parse/grammar.ts';
import { choiceOption, imageOrSnapArgument } from '../parse/parameters.ts';
import { framed } from '../output/wording.ts';

const pollMs = 50;
/** A server flushes first, and is patient with its bucket for two minutes. */
const endWaitMs = 180_000;

type Target = { spec: ImageSpec } | { device: string };

const targetArgument: Argument<Target> = {
  placeholder: 'image-or-snap-or-device-spec',
  help: `${imageOrSnapArgument.help}, or device or id as 'device ls' shows it`,
  take: (words, options, own) => {
    if (!words[0] && !options.image)
      throw new FarsideError('EINVAL', 'unmap requires either image name or device path');
    const isDevice = /^(?:nbds?(?:\+unix)?:|\d+$)/.test(words[0] ?? '');
    return isDevice ? { device: words.shift()! } : { spec: imageOrSnapArgument.take(words, options, own) };
  },
};

export const deviceUnmap = defineCommand({
  path: 'device unmap',
  summary: 'stop serving an image on this machine',
  description:
    'What was written is flushed and the image given back, as when the server is interrupted. A server of several images ends by its id only.',
  arguments: { target: targetArgument },
  options: { deviceType: choiceOption('-t, --device-type <type>', 'device type (default: nbd)', ['nbd']) },
  examples: ['farside device unmap vm-1', 'farside device unmap backup/vm-1@before', 'farside device unmap 4711'],
  async run({ args: { target }, context }) {
    await framed({ text: 'unmap failed', errno: true, owns: 'ETIMEDOUT' }, async () => {
      const servers = await listServers(context.home);
      const site = context.general.cluster ?? context.terminal.env['FARSIDE_CLUSTER'];
      const server = chosen(
        servers.filter((one) => site === undefined || site === '' || one.site === site),
        target,
      );
      endServer(server);
      await untilGone(server, context.terminal.clock);
    });
  },
});

const textOf = (target: Target): string => ('spec' in target ? formatSpec(target.spec) : target.device);

function chosen(servers: readonly Server[], target: Target): Server {
  const name = textOf(target);
  const found = servers.filter(({ pid, exports }) => String(pid) === name || exports.some((one) => isMeant(one, name)));
  const [server] = found;
  if (!server) throw new FarsideError('EINVAL', `${name}: not a mapped image or snapshot`);
  if (found.length > 1) {
    const ids = found.map(({ pid }) => pid).join(', ');
    throw new FarsideError('EBUSY', `${name} is served by several processes: unmap one by its id (${ids})`);
  }
  if (server.exports.length === 1 || String(server.pid) === name) return server;
  const others = server.exports.filter((one) => !isMeant(one, name)).map(formatSpec);
  throw new FarsideError(
    'EBUSY',
    `process ${server.pid} serves ${others.join(', ')} too: 'farside device unmap ${server.pid}' ends them all`,
  );
}

const isMeant = (one: Server['exports'][number], name: string): boolean => name === one.uri || name === formatSpec(one);

async function untilGone(server: Server, clock: Clock): Promise<void> {
  for (let waitedMs = 0; isServing(server); waitedMs += pollMs) {
    if (waitedMs >= endWaitMs)
      throw new FarsideError(
        'ETIMEDOUT',
        `process ${server.pid} has not ended yet: it still flushes, and says so itself`,
      );
    await clock.sleep(pollMs);
  }
  if (await wasLost(server))
    throw new FarsideError('EIO', `process ${server.pid} ended without giving its images back: what it said tells why`);
}
