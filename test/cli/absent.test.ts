// What rbd has and farside has not is told with a reason, the one that the documents give.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { absentCommands } from '../../lib/cli/absent.ts';
import { run } from '../../lib/cli/run.ts';
import { testTerminal } from './terminal.ts';

const documented = readFileSync(join(import.meta.dirname, '../../docs/options.md'), 'utf8');

test.each(absentCommands)(
  '$name: says why not, whatever follows it, and the documents say the same',
  async ({ name, why }) => {
    for (const rest of [[], ['ls', '-p', 'rbd', '--format', 'json'], ['a', 'b', 'c', '--unknown=1']]) {
      const { terminal, stdout, stderr } = testTerminal();
      expect(await run([...name.split(' '), ...rest], terminal)).toBe(95);
      expect(stderr.text).toBe(`farside: ${name} is not in farside: ${why}\n`);
      expect(stdout.text).toBe('');
    }
    expect(documented).toContain(`| \`${name}\` | ${why.slice(0, 1).toUpperCase()}${why.slice(1)} |`);
  },
);

test('the help does not show them', async () => {
  const { terminal, stdout } = testTerminal();
  await run(['--help'], terminal);
  expect(stdout.text).toContain('sparsify');
  expect(stdout.text).not.toContain('persistent-cache');
});
