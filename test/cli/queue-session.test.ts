// Sessions about messages that were given up: where an operator sees them, and what may be done about them.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { Sessions } from './sessions.ts';

let sessions: Sessions;
beforeEach(async () => {
  sessions = await Sessions.start();
  await sessions.pairSites();
});
afterEach(() => sessions.end());

const peerUuid = '71249ac3-c569-4c3d-a9d0-50c2f0482888';
const poll = { type: 'poll', pool: 'rbd', peerUuid };
const why = 'not handled after 11 attempts; the last said: EIO: R2 is away';
const b = '--cluster site-b';

test('what was given up shows in the status of its pool, is listed, sent again, and forgotten', async () => {
  const { site } = sessions.site('site-b');
  const { queue } = sessions.site('site-b');
  await site.tick(0);
  await sessions.session([[`${b} queue ls`, 'ID  TYPE  POOL  COUNT  LAST  WHY\n']]);
  await site.deadLetter(poll, why);
  await site.deadLetter({ type: 'nonsense' }, 'not a message that this version knows');
  const status = await sessions.farside(`${b} mirror pool status rbd`);
  expect(status.stdout).toContain('daemon health: WARNING\n');
  expect(status.stdout).toContain("warning: messages given up: 1 ('farside queue ls' shows them)\n");

  const listed = await sessions.farside(`${b} queue ls`);
  expect(listed.stdout).toMatch(new RegExp(`^[0-9a-f]{32}  poll      rbd   1      .*Z  ${why} *$`, 'm'));
  const failures: { id: string; type: string }[] = JSON.parse(
    (await sessions.farside(`${b} queue ls --format json`)).stdout,
  );
  const nonsense = failures.find(({ type }) => type === 'nonsense')!.id;

  queue.sent.length = 0;
  await sessions.session([
    [`${b} queue retry`, "1 sent again; 1 cannot be, see 'farside queue ls'\n"],
    [
      `${b} queue retry ${nonsense}`,
      `farside: failure ${nonsense} holds no message that this version can send: forget it with 'farside queue purge ${nonsense}'\n`,
      95,
    ],
    [`${b} queue purge ${nonsense}`],
    [`${b} queue purge ${nonsense}`, `farside: there is no failure ${nonsense}: 'farside queue ls' shows all\n`, 2],
    [`${b} queue purge`],
    [`${b} queue retry`, '0 sent again\n'],
  ]);
  expect(queue.sent).toEqual([poll]);
  expect((await sessions.farside(`${b} mirror pool status rbd`)).stdout).not.toContain('warning');
});

test('an id that is none is refused', async () => {
  await sessions.session([[`${b} queue retry x`, 'farside: invalid query: id: not the id of a failure\n', 22]]);
});
