// Owns what goes to stdout, and in which format. A command hands over a report (its data and how to say it plainly); the
// formatter that `--format` names writes it. A further format is one more entry of `formatters`.

import type { Writable } from 'node:stream';
import { formatXml, type XmlShape } from './xml.ts';

/** `value` is JSON, printed as it is, keys in their order; `plain` is called only for `--format plain` and may end its last line. `xml`: other names than the command's. */
export type Report = { value: unknown; plain(): string; xml?: XmlShape };

type FormatOptions = { pretty: boolean };

/** As Ceph's JSONFormatter: compact on one line, or indented by four. */
const formatJson = (report: Report, options: FormatOptions): string =>
  `${JSON.stringify(report.value, undefined, options.pretty ? 4 : 0)}\n`;

const formatters = {
  plain: (report: Report): string => report.plain(),
  json: formatJson,
  xml: (report, options) => formatXml(report.value, report.xml, options),
} satisfies Record<string, (report: Required<Report>, options: FormatOptions) => string>;

export type Format = keyof typeof formatters;
export const formats = Object.keys(formatters) as Format[];
export const formatDefault: Format = 'plain';

type Streams = { stdout: Writable; stderr: Writable };

export class Output {
  readonly #streams: Streams;
  readonly #options: FormatOptions & { format: Format };

  constructor(streams: Streams, options: FormatOptions & { format: Format }) {
    this.#streams = streams;
    this.#options = options;
  }

  get format(): Format {
    return this.#options.format;
  }

  /** A report in the format that the user chose; commands call the `report` that `defineReport` hands them. */
  report(report: Report, xml: XmlShape): void {
    this.#streams.stdout.write(this.reportText(report, xml));
  }

  reportText(report: Report, xml: XmlShape): string {
    return formatters[this.#options.format]({ xml, ...report }, this.#options);
  }

  /** One line of plain text on stdout, whatever the format: rbd's `Mirroring enabled`, a snapshot id, a token. */
  line(text: string): void {
    this.#streams.stdout.write(`${text}\n`);
  }

  /** Lines of plain text on stdout, each with its end. */
  text(lines: string): void {
    this.#streams.stdout.write(lines);
  }

  /** One line for the user on stderr: neither result nor error. */
  note(text: string): void {
    this.#streams.stderr.write(`${text}\n`);
  }
}
