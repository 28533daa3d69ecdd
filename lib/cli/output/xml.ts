// Owns XML as Ceph's XMLFormatter writes it: elements only, one for each key, one for each element of an array inside the array's
// own. JSON has no names for the elements of an array, nor for the whole: a command's `XmlShape` (xml-shapes.ts) has them.

import Builder from 'fast-xml-builder';
import { assert } from '../../errors.ts';

/** `items`: by the key of an array (of the whole, when that is one: the root), what its elements are called. */
export type XmlShape = {
  root: string;
  items?: Readonly<Record<string, string | ((item: unknown) => string)>>;
};

type Node = Record<string, Node[]> | { '#text': string };

/** One line; `pretty`: a line for each element, indented by one space. */
export function formatXml(value: unknown, shape: XmlShape, { pretty }: { pretty: boolean }): string {
  const builder = new Builder({ preserveOrder: true, format: pretty, indentBy: ' ', suppressEmptyNode: false });
  return `${builder.build([element(shape.root, value, shape)]).trim()}\n`;
}

function element(name: string, value: unknown, shape: XmlShape): Node {
  return { [elementName(name)]: childrenOf(name, value, shape) };
}

function childrenOf(name: string, value: unknown, shape: XmlShape): Node[] {
  if (Array.isArray(value)) return value.map((item) => element(itemName(name, item, shape), item, shape));
  if (!isObject(value)) return textNodes(textOf(value));
  return Object.entries(value)
    .filter(([, child]) => child !== undefined)
    .map(([key, child]) => element(key, child, shape));
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
const textOf = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));

function itemName(name: string, item: unknown, shape: XmlShape): string {
  const found = shape.items?.[name];
  assert(found !== undefined, `the elements of ${name} have no name in XML`);
  return typeof found === 'string' ? found : found(item);
}

/** Characters that XML 1.0 cannot hold at all become question marks, as in tables. */
const textNodes = (text: string): Node[] =>
  // oxlint-disable-next-line no-control-regex -- these are the ones
  text === '' ? [] : [{ '#text': text.replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '?') }];

/** Keys that users choose (metadata) need not be names in XML. */
const elementName = (key: string): string => {
  const name = key.replaceAll(/[^\w.-]/g, '_');
  return /^[A-Za-z_]/.test(name) ? name : `_${name}`;
};
