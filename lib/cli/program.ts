// Owns the way from command objects to a commander tree: the only file that knows how commander is used. General options
// are accepted before and after the subcommand, as in rbd.

import { Command as Node, Option as Flag } from 'commander';
import { FarsideError } from '../errors.ts';
import { version } from '../site/version.ts';
import { absentCommands, type AbsentCommand } from './absent.ts';
import type { Command, Option, Words } from './command.ts';
import { createContext, type GeneralOptions, type Terminal } from './sites/context.ts';
import { poolDefault } from './parse/grammar.ts';
import { formatDefault, formats } from './output/output.ts';
import { choiceOption, switchOption, textOption } from './parse/parameters.ts';

/** Options that every command takes. */
export const generalOptions = {
  cluster: textOption(
    '--cluster <site>',
    'site to speak to (default: $FARSIDE_CLUSTER, else the only registered site)',
  ),
  pool: textOption('-p, --pool <pool>', `pool name (default: ${poolDefault})`),
  namespace: textOption('--namespace <namespace>', 'namespace name (default: the empty one)'),
  image: textOption('--image <image>', 'image name, or image specification'),
  snap: textOption('--snap <snap>', 'snapshot name'),
  format: choiceOption('--format <format>', `output format (default: ${formatDefault})`, formats),
  pretty: switchOption('--pretty-format', 'indent json and xml output'),
  noProgress: switchOption('--no-progress', 'disable progress output'),
};

/** What the words above a command are for; shown by `farside mirror --help`. */
const groupSummaries: Record<string, string> = {
  config: 'options of rbd, and who overrides them',
  'config global': 'options overridden for the site',
  'config image': 'options overridden for an image',
  'config pool': 'options overridden for a pool',
  deep: 'copies with snapshots',
  device: 'images as block devices',
  feature: 'features of an image',
  'image-meta': "an image's metadata",
  journal: 'the journal of an image',
  'journal client': 'the peers that copy a journal',
  lock: 'locks of an image',
  mirror: 'mirroring between sites',
  'mirror image': 'mirroring of one image',
  'mirror image retention': 'which points in time of an image are kept here',
  'mirror pool': 'mirroring of a pool',
  'mirror pool peer': 'the sites that a pool mirrors with',
  'mirror pool peer bootstrap': 'introduce two sites to each other',
  'mirror pool retention': "which points in time of a pool's images are kept here",
  'mirror snapshot': 'mirror snapshots',
  'mirror snapshot schedule': 'schedules of mirror snapshots',
  namespace: 'namespaces of a pool',
  nbd: 'images as disks, over the Network Block Device protocol',
  'object-map': "the check of an image's map",
  pool: 'pools of a site',
  queue: 'messages of a site that were given up',
  site: 'sites on this machine, and those it knows',
  snap: 'snapshots of an image',
  'snap limit': 'how many snapshots an image may have',
  token: 'access tokens of a site',
  trash: 'images that were removed and can be had back',
  'trash purge schedule': 'schedules of purges of the trash',
};

export function buildProgram(commands: readonly Command[], terminal: Terminal): Node {
  const root = new Node('farside').description('Mirrors block-device images between sites, in the words of rbd.');
  for (const option of Object.values(generalOptions)) root.addOption(new Flag(option.flags, option.help));
  root.version(`farside version ${version}`, '-v, --version', 'show the version');
  root.addHelpText('after', '\nEvery command has its own --help with examples: farside mirror image enable --help');
  prepare(root, terminal);
  for (const command of commands) addCommand(root, command, terminal);
  for (const absent of absentCommands) addAbsent(root, absent, terminal);
  return root;
}

/** Says why it is not there, whatever words come after it. Not shown in the help. */
function addAbsent(root: Node, { name, why }: AbsentCommand, terminal: Terminal): void {
  const words = name.split(' ');
  const parent = words.length === 1 ? root : groupNode(root, words.slice(0, -1), terminal);
  prepare(parent.command(words.at(-1)!, { hidden: true }), terminal)
    .description(`Not in farside: ${why}`)
    .argument('[words...]')
    .allowUnknownOption()
    .action(() => {
      throw new FarsideError('EOPNOTSUPP', `${name} is not in farside: ${why}`);
    });
}

function prepare(node: Node, terminal: Terminal): Node {
  return node
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      outputError: () => {},
    })
    .configureHelp({
      showGlobalOptions: true,
      sortSubcommands: true,
      subcommandTerm: termOf,
    })
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false);
}

/** A command with its usage in the list of its group; a group with an ellipsis. One may be both, as `trash purge` is. */
const termOf = (node: Node): string =>
  `${[node.name(), ...node.aliases()].join('|')} ${node.commands.length > 0 && node.summary() === '' ? '…' : node.usage()}`;

function addCommand(root: Node, command: Command, terminal: Terminal): void {
  const words = command.path.split(' ');
  const parent = words
    .slice(0, -1)
    .reduce((node, _, index) => groupNode(node, words.slice(0, index + 1), terminal), root);
  const node = prepare(parent.command(words.at(-1)!), terminal).summary(command.summary);
  node.description([capitalised(command.summary), command.description].filter(Boolean).join('\n\n'));
  node.aliases(command.aliases ?? []);
  addParameters(node, command);
  node.addHelpText('after', `\nExamples:\n${command.examples.map((line) => `  $ ${line}`).join('\n')}`);
  node.action(async () => {
    if (command.xml === undefined) refuseFormat(root);
    await runCommand(command, node, readGeneralOptions(root), terminal);
  });
}

function groupNode(parent: Node, path: string[], terminal: Terminal): Node {
  const name = path.at(-1)!;
  const present = parent.commands.find((node) => node.name() === name);
  return present ?? prepare(parent.command(name), terminal).description(groupSummaries[path.join(' ')] ?? '');
}

/** Arguments are declared for the help only: general options may stand for any of them, so `take` decides what is missing. */
function addParameters(node: Node, command: Command): void {
  const placed = Object.values(command.arguments).filter((argument) => argument.placeholder !== '');
  for (const argument of placed) {
    const placeholder = argument.placeholder.replace(/^\[|\]$/g, '');
    node.argument(`[${placeholder}]`, argument.help);
  }
  const hasOptions = Object.keys(command.options).length > 0;
  node.usage([...(hasOptions ? ['[options]'] : []), ...placed.map(usageOf)].join(' '));
  for (const option of Object.values(command.options)) node.addOption(flagOf(option));
}

function flagOf({ flags, help, joinedBy }: Option<unknown>): Flag {
  const flag = new Flag(flags, help);
  if (joinedBy === undefined) return flag;
  return flag.argParser((text, before?: string) => (before === undefined ? text : `${before}${joinedBy}${text}`));
}

const usageOf = (argument: { placeholder: string }): string =>
  argument.placeholder.startsWith('[') ? argument.placeholder : `<${argument.placeholder}>`;

async function runCommand(command: Command, node: Node, general: GeneralOptions, terminal: Terminal): Promise<void> {
  const words: Words = [...node.args];
  const options = mapValues(command.options, (option) => option.parse(rawValue(node, option.flags)));
  const args = mapValues(command.arguments, (argument) => argument.take(words, general, options));
  // EPERM is 1, which is what rbd exits with here.
  if (words.length > 0) throw new FarsideError('EPERM', `too many arguments: '${words.join(' ')}'`);
  await command.run({ args, options, context: createContext(terminal, general) });
}

/** As rbd: a command that reports nothing knows no formats. */
function refuseFormat(root: Node): void {
  for (const option of [generalOptions.format, generalOptions.pretty]) {
    const flag = new Flag(option.flags);
    if (root.getOptionValueSource(flag.attributeName()) === 'cli')
      throw new FarsideError('EPERM', `unrecognised option '${flag.long}'`);
  }
}

function readGeneralOptions(root: Node): GeneralOptions {
  const raw = mapValues(generalOptions, (option) => rawValue(root, option.flags));
  return {
    cluster: generalOptions.cluster.parse(raw.cluster),
    pool: generalOptions.pool.parse(raw.pool),
    namespace: generalOptions.namespace.parse(raw.namespace),
    image: generalOptions.image.parse(raw.image),
    snap: generalOptions.snap.parse(raw.snap),
    format: generalOptions.format.parse(raw.format) ?? formatDefault,
    pretty: generalOptions.pretty.parse(raw.pretty),
    // commander stores `--no-x` as x, true unless given
    progress: raw.noProgress !== false,
  };
}

const rawValue = (node: Node, flags: string): string | boolean | undefined =>
  node.getOptionValue(new Flag(flags).attributeName()) as string | boolean | undefined;

function mapValues<K extends string, V, W>(record: Record<K, V>, change: (value: V) => W): Record<K, W> {
  return Object.fromEntries(Object.entries<V>(record).map(([key, value]) => [key, change(value)])) as Record<K, W>;
}

const capitalised = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
