// Owns what a command is: data that names its words, arguments, options, help and handler. `program.ts` turns it into a
// commander tree; nothing else knows commander.

import type { Context } from './sites/context.ts';
import type { SpecOptions } from './parse/grammar.ts';
import type { Report } from './output/output.ts';
import type { XmlShape } from './output/xml.ts';

/** The positional words of a command line that no argument has taken yet. */
export type Words = string[];

/** One positional argument; without a placeholder it is made of general options only. `take` removes what it needs from the words (nothing, when an option says it, a general one or the command's own). */
export type Argument<T> = {
  placeholder: string;
  help: string;
  take(words: Words, options: SpecOptions, own: Readonly<Record<string, unknown>>): T;
};

/** One option. `flags` are commander's; `parse` gets the raw text, `true` for a given switch, undefined when absent. */
export type Option<T> = {
  flags: string;
  help: string;
  /** Given again, its texts are joined by this; otherwise the last one counts. */
  joinedBy?: string;
  parse(raw: string | boolean | undefined): T;
};

/* oxlint-disable-next-line no-explicit-any -- a record of arguments of any type each */
export type Arguments = Record<string, Argument<any>>;
/* oxlint-disable-next-line no-explicit-any */
export type Options = Record<string, Option<any>>;

type ArgumentValues<A extends Arguments> = { [K in keyof A]: ReturnType<A[K]['take']> };
type OptionValues<O extends Options> = { [K in keyof O]: ReturnType<O[K]['parse']> };

export type Call<A extends Arguments, O extends Options> = {
  args: ArgumentValues<A>;
  options: OptionValues<O>;
  context: Context;
};

export type CommandDefinition<A extends Arguments, O extends Options> = {
  /** The words that choose it: `mirror image enable`. */
  path: string;
  /** Other last words: `['ls']` for `snap list`. */
  aliases?: readonly string[];
  summary: string;
  /** Further paragraphs of `--help`. */
  description?: string;
  arguments: A;
  options: O;
  /** Whole command lines, at least one. */
  examples: readonly string[];
  run(call: Call<A, O>): Promise<void>;
};

/** `report` prints; `reportText` only says what would be printed. */
type Reporting = { report: (report: Report) => void; reportText: (report: Report) => string };

/** A command that reports data, in the format that the user chose; only such commands take --format. */
export type ReportDefinition<A extends Arguments, O extends Options> = Omit<CommandDefinition<A, O>, 'run'> & {
  /** Names for XML; `report` may be given others. */
  xml: XmlShape;
  run(call: Call<A, O> & Reporting): Promise<void>;
};

/** A command of any shape, as the registry holds it. */
export type Command = CommandDefinition<Arguments, Options> & { xml?: XmlShape };

/** Infers the types of arguments and options for `run`. */
export const defineCommand = <A extends Arguments, O extends Options>(command: CommandDefinition<A, O>): Command =>
  command;

/** As `defineCommand`, for commands that report. */
export function defineReport<A extends Arguments, O extends Options>(definition: ReportDefinition<A, O>): Command {
  const { xml } = definition;
  return {
    ...definition,
    run: (call: Call<A, O>) => {
      const { output } = call.context;
      const report = (value: Report): void => output.report(value, xml);
      const reportText = (value: Report): string => output.reportText(value, xml);
      return definition.run({ ...call, report, reportText });
    },
  };
}
