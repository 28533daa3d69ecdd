// Owns what a command is handed: the chosen site, its client, the terminal and the general options. Nothing is looked up
// before it is asked for, so `--help` and `site start` need no registered site.

import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../../clock.ts';
import { FarsideError } from '../../errors.ts';
import type { Random } from '../../random.ts';
import { Client } from '../client/client.ts';
import type { SpecOptions } from '../parse/grammar.ts';
import { Output, type Format } from '../output/output.ts';
import { farsideHome, listSites, type Registration } from './registry.ts';

export type GeneralOptions = SpecOptions & {
  cluster?: string | undefined;
  format: Format;
  pretty: boolean;
  progress: boolean;
};

/** The process around the CLI; tests bring their own. */
export type Terminal = {
  env: NodeJS.ProcessEnv;
  stdin: Readable;
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean };
  fetch: typeof fetch;
  clock: Clock;
  random: Random;
};

export type Context = {
  terminal: Terminal;
  general: GeneralOptions;
  output: Output;
  /** FARSIDE_HOME, resolved. */
  home: string;
  /** The site that `--cluster`, FARSIDE_CLUSTER or being the only one chooses. */
  registration(): Promise<Registration>;
  client(): Promise<Client>;
};

export function createContext(terminal: Terminal, general: GeneralOptions): Context {
  const home = farsideHome(terminal.env);
  const registration = once(async () =>
    chooseSite(await listSites(home), general.cluster ?? terminal.env['FARSIDE_CLUSTER']),
  );
  return {
    terminal,
    general,
    output: new Output(terminal, general),
    home,
    registration,
    client: once(async () => new Client(await registration(), terminal.fetch)),
  };
}

function chooseSite(sites: Registration[], name: string | undefined): Registration {
  const [only] = sites;
  if (name) return sites.find((site) => site.name === name) ?? unknownSite(sites, name);
  if (!only)
    throw new FarsideError(
      'ENOENT',
      "no site is registered\nstart one with 'farside site start --name site-a', or register one with 'farside site add'",
    );
  if (sites.length > 1) {
    throw new FarsideError(
      'EINVAL',
      `several sites are registered (${names(sites)})\nchoose one with --cluster SITE, or set FARSIDE_CLUSTER`,
    );
  }
  return only;
}

function unknownSite(sites: Registration[], name: string): never {
  const known = sites.length === 0 ? 'no site is registered' : `registered: ${names(sites)}`;
  throw new FarsideError(
    'ENOENT',
    `site '${name}' is not registered (${known})\nstart it with 'farside site start --name ${name}', or register it with 'farside site add --name ${name}'`,
  );
}

const names = (sites: Registration[]): string => sites.map((site) => site.name).join(', ');

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
