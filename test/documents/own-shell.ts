// A shell with a home and a folder of its own; the sites that are started in it end with it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listSites } from '../../lib/cli/sites/registry.ts';
import { Shell, type Said } from '../cli/shell.ts';

export class OwnShell {
  readonly #root = mkdtempSync(join(tmpdir(), 'farside-document-'));
  readonly #home = join(this.#root, 'home');
  readonly #shell = new Shell({ home: this.#home, folder: join(this.#root, 'files'), functions: 'set -o pipefail' });

  run = (line: string): Promise<Said> => this.#shell.run(line);

  async end(): Promise<void> {
    for (const { name } of await listSites(this.#home)) await this.run(`farside site stop --name ${name}`);
    rmSync(this.#root, { recursive: true, force: true });
  }
}
