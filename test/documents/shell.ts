// A user's shell: bash, with `farside` for the CLI, a home of its own and an empty folder; and the sites that it started, which end
// with it.

import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listSites } from '../../lib/cli/registry.ts';

export type Answer = { exitCode: number; text: string };

const main = join(import.meta.dirname, '../../lib/cli/main.ts');
const commandWaitMs = 120_000;

export class Shell {
  readonly #root = mkdtempSync(join(tmpdir(), 'farside-document-'));

  constructor() {
    mkdirSync(join(this.#root, 'files'));
  }

  run(line: string): Promise<Answer> {
    const script = `set -o pipefail; farside() { '${process.execPath}' '${main}' "$@"; }\n${line}`;
    const env = { ...process.env, FARSIDE_HOME: join(this.#root, 'home') };
    const options = { env, cwd: join(this.#root, 'files'), timeout: commandWaitMs };
    return new Promise((resolve) => {
      execFile('bash', ['-c', script], options, (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ exitCode, text: stdout + stderr });
      });
    });
  }

  async end(): Promise<void> {
    const sites = await listSites(join(this.#root, 'home'));
    for (const { name } of sites) await this.run(`farside site stop --name ${name}`);
    rmSync(this.#root, { recursive: true, force: true });
  }
}
