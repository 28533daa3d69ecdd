// Sessions about options: who overrides them, what they change, and rbd's words about it.

import { expect, test } from 'vitest';
import { content, eachWithSessions } from './sessions.ts';

const { current, farside, session } = eachWithSessions();

const a = '--cluster site-a';
const cap = 'rbd_mirroring_max_mirroring_snapshots';

const rowOf = async (line: string): Promise<unknown> =>
  JSON.parse((await farside(`${line} --format json`)).stdout).find((row: { name: string }) => row.name === cap);

test('overrides of site, pool and image: set, get, listed, removed, and the most special one wins', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [`${a} config pool get rbd ${cap}`, `farside: ${cap} is not set\n`, 2],
    [`${a} config global ls global`],
    [`${a} config global ls global --format json`, '[]\n'],
    [`${a} config global set global ${cap} 6`],
    [`${a} config global set client ${cap} 7`],
    [`${a} config global get global ${cap}`, '6\n'],
    [`${a} config global ls client`, `Name                                   Value  Section\n${cap}  7      client \n`],
  ]);
  expect(await rowOf(`${a} config pool ls rbd`)).toEqual({ name: cap, value: '7', source: 'config' });
  await session([[`${a} config pool set rbd ${cap} 8`], [`${a} config pool get rbd ${cap}`, '8\n']]);
  expect(await rowOf(`${a} config image ls vm-1`)).toEqual({ name: cap, value: '8', source: 'pool' });
  await session([
    [`${a} config image get vm-1 ${cap}`, `farside: ${cap} is not set\n`, 2],
    [`${a} config image set vm-1 ${cap} 9`],
    [`${a} config image get vm-1 ${cap}`, '9\n'],
    [`${a} image-meta get vm-1 conf_${cap}`, '9\n'],
  ]);
  expect(await rowOf(`${a} config image ls vm-1`)).toEqual({ name: cap, value: '9', source: 'image' });
  expect((await farside(`${a} config image ls vm-1`)).stdout).toMatch(
    /^There are \d+ values:\nName +Value +Source *\n/,
  );
  await session([
    [`${a} config image rm vm-1 ${cap}`],
    [
      `${a} config image rm vm-1 ${cap}`,
      `farside: failed to remove ${cap}: (2) No such file or directory\nmetadata key conf_${cap} does not exist\n`,
      2,
    ],
    [`${a} config pool rm rbd ${cap}`],
    [
      `${a} config pool rm rbd ${cap}`,
      `farside: failed to remove ${cap}: (2) No such file or directory\n${cap} is not set\n`,
      2,
    ],
    [`${a} config global rm client ${cap}`],
    [`${a} config global rm client ${cap}`],
    [`${a} config global rm global ${cap}`],
  ]);
  expect(await rowOf(`${a} config image ls vm-1`)).toEqual({ name: cap, value: '5', source: 'config' });
});

test('what is no option, no value or no owner is refused, and says why', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} create vm-1 --size 8M`],
    [
      `${a} config pool set rbd ${cap}`,
      `farside: failed to set ${cap}: (22) Invalid argument\ninvalid value '' of ${cap}: it takes a whole number from 3 to 1000\n`,
      22,
    ],
    [
      `${a} config image set vm-1 ${cap} 2`,
      `farside: failed to set ${cap}: (22) Invalid argument\ninvalid value '2' of ${cap}: it takes a whole number from 3 to 1000\n`,
      22,
    ],
    [
      `${a} image-meta set vm-1 conf_${cap} x`,
      `failed to set metadata conf_${cap} of image : (22) Invalid argument\nfarside: setting metadata failed: (22) Invalid argument\ninvalid value 'x' of ${cap}: it takes a whole number from 3 to 1000\n`,
      22,
    ],
    [
      `${a} image-meta set vm-1 conf_rbd_nonsense x`,
      'failed to set metadata conf_rbd_nonsense of image : (22) Invalid argument\nfarside: setting metadata failed: (22) Invalid argument\ninvalid config key: rbd_nonsense\n',
      22,
    ],
    [`${a} config pool set rbd`, 'farside: config key was not specified\n', 22],
    [`${a} config pool set`, 'farside: pool name was not specified\n', 22],
    [`${a} config pool set rbd mon_host x`, 'farside: not rbd option: mon_host\n', 22],
    [`${a} config pool set rbd rbd_nonsense x`, 'farside: invalid config key: rbd_nonsense\n', 22],
    [`${a} config pool set other ${cap} 5`, "farside: error opening pool 'other': (2) No such file or directory\n", 2],
    [`${a} config pool ls other`, "farside: error opening pool 'other': (2) No such file or directory\n", 2],
    [`${a} config image set vm-2 ${cap} 5`, 'farside: error opening image vm-2: (2) No such file or directory\n', 2],
    [
      `${a} config global set osd ${cap} 5`,
      `farside: error setting ${cap}: (22) Invalid argument\ninvalid config entity: osd (must be global, client or client.<id>)\n`,
      22,
    ],
  ]);
});

test('options of new images, and of how they are stored, take effect in create and import', async () => {
  await session([
    [`${a} pool create rbd`],
    [`${a} config global set global rbd_default_order 20`],
    [`${a} create vm-1 --size 8M`],
    [`${a} create vm-2 --size 8M --object-size 8M`],
    [`${a} config pool set rbd rbd_default_order 21`],
    [`${a} config pool set rbd rbd_compression_hint incompressible`],
  ]);
  await farside(`${a} import - vm-3`, Buffer.alloc(256 * 1024, 'a'));
  await session([[`${a} config pool rm rbd rbd_compression_hint`]]);
  await farside(`${a} import - vm-4`, Buffer.alloc(256 * 1024, 'a'));
  const orders: number[] = [];
  for (const name of ['vm-1', 'vm-2', 'vm-3'])
    orders.push(JSON.parse((await farside(`${a} info ${name} --format json`)).stdout).order);
  expect(orders).toEqual([20, 23, 21]);
  const packBytes = async (name: string): Promise<number> => {
    const { id } = JSON.parse((await farside(`${a} info ${name} --format json`)).stdout);
    const page = await current()
      .site('site-a')
      .bucket.list({ prefix: `images/${id}/packs/`, limit: 10 });
    return page.objects.reduce((sum, object) => sum + object.bytes, 0);
  };
  expect(await packBytes('vm-3')).toBeGreaterThan(256 * 1024);
  expect(await packBytes('vm-4')).toBeLessThan(64 * 1024);
});

test('the cap of mirror snapshots takes effect at every level', async () => {
  await current().pairSites();
  await farside(`${a} import - vm-1`, content('one', 64 * 1024));
  await session([[`${a} mirror image enable vm-1 snapshot`, 'Mirroring enabled\n']]);
  current().site('site-a').queue.sent.length = 0;
  const snapshotsAfter = async (count: number): Promise<number> => {
    for (let index = 0; index < count; index++) await farside(`${a} mirror image snapshot vm-1`);
    return JSON.parse((await farside(`${a} snap ls --all vm-1 --format json`)).stdout).length;
  };
  current().network.down.add('site-b.test');
  expect(await snapshotsAfter(8)).toBe(5);
  await session([[`${a} config pool set rbd ${cap} 7`]]);
  expect(await snapshotsAfter(8)).toBe(7);
  await session([[`${a} config image set vm-1 ${cap} 9`]]);
  expect(await snapshotsAfter(8)).toBe(9);
});
