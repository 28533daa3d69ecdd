// `mirror pool peer add`: a peer by the name of its site.

import { FarsideError } from '../../errors.ts';
import { defineCommand } from '../command.ts';
import { optionalTextArgument, poolArgument, textOption } from '../parse/parameters.ts';
import { additionalOption, contactOf, directionDefault, directionOption, parsePeerSpec } from '../sites/peers.ts';
import { readSecret } from '../sites/secret-file.ts';
import { framed } from '../output/wording.ts';

export const mirrorPoolPeerAdd = defineCommand({
  path: 'mirror pool peer add',
  summary: 'add a peer to a pool',
  description:
    "The peer is known by the name of its cluster, which here is a site. If 'farside site ls' shows that site, the two are introduced at once, as by a bootstrap token, in one direction: add this site there too for the other. Otherwise give its URL (--remote-mon-host) and a file with the key of one of its bootstrap tokens (--remote-key-file), now or later with 'farside mirror pool peer set'; until then the peer is a mere name.",
  arguments: {
    pool: poolArgument,
    peer: optionalTextArgument('remote-cluster-spec', 'peer: [<client name>@]<cluster name>'),
  },
  options: {
    client: textOption('--remote-client-name <name>', 'client name (default: client.admin)'),
    cluster: textOption('--remote-cluster <name>', 'cluster name'),
    monHost: textOption('--remote-mon-host <url>', 'URL of the site'),
    keyFile: textOption('--remote-key-file <file>', 'file that holds a bootstrap key of the site'),
    direction: directionOption,
    additional: additionalOption,
  },
  examples: [
    'farside --cluster site-b mirror pool peer add rbd site-a',
    'farside --cluster site-b mirror pool peer add --direction rx-only --remote-mon-host https://farside-site-a.example.workers.dev --remote-key-file key rbd client.rbd-mirror-peer@site-a',
  ],
  async run({ args: { pool, peer }, options, context }) {
    const spec = peer === undefined ? { client: 'client.admin', cluster: '' } : parsePeerSpec(peer);
    const cluster = options.cluster ?? spec.cluster;
    if (cluster === '') throw new FarsideError('EINVAL', 'remote cluster was not specified');
    const key = options.keyFile === undefined ? undefined : await readSecret(options.keyFile, context.terminal.stdin);
    const client = await context.client();
    const isTold = options.monHost !== undefined || key !== undefined;
    const contact =
      isTold || !(await wants(client, pool, cluster)) ? undefined : await contactOf(context, pool, cluster);
    const frame = {
      text: 'error adding mirror peer',
      errno: false,
      instead: { EEXIST: 'mirror peer already exists' },
    };
    const uuid = await framed(frame, () =>
      client.addPeer(pool, {
        cluster,
        client: options.client ?? spec.client,
        direction: options.direction ?? directionDefault,
        additional: options.additional,
        ...(contact ?? { monHost: options.monHost, key }),
      }),
    );
    context.output.line(uuid);
  },
});

type Client = Awaited<ReturnType<Parameters<typeof contactOf>[0]['client']>>;

/** Whether a key of the other site would be of use; what is refused anyway makes none. */
async function wants(client: Client, pool: string, cluster: string): Promise<boolean> {
  const info = await client.poolInfo({ pool, namespace: '' }).catch(() => undefined);
  return (
    info?.peers !== undefined &&
    info.site_name !== cluster &&
    !info.peers.some(({ site_name }) => site_name === cluster)
  );
}
