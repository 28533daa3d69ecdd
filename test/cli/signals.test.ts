// How a foreground command is asked to end: the first signal is its own business, the second ends it at once, with its last words.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const signals = join(import.meta.dirname, '../../lib/cli/signals.ts');
const script = `
  const { nextSignals } = await import(${JSON.stringify(signals)});
  setInterval(() => {}, 1000);
  const asked = nextSignals(() => 'what was flushed is safe');
  console.log('ready');
  console.log(await asked);
`;

test('a second signal ends the process at once, by that signal, and says what is safe', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const said = async (): Promise<string> => String((await once(child.stdout, 'data'))[0]);
  const closed = once(child, 'close');
  try {
    expect(await said()).toBe('ready\n');
    child.kill('SIGTERM');
    expect(await said()).toBe('SIGTERM\n');
    expect(child.exitCode).toBeNull();
    child.kill('SIGINT');
    expect(await closed).toEqual([null, 'SIGINT']);
    expect(stderr).toContain('what was flushed is safe\n');
  } finally {
    child.kill('SIGKILL');
  }
});
