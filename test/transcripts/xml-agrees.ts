// Whether XML says what JSON said: the same keys in the same order, the same values, as many elements as an array has.

import { DOMParser } from '@xmldom/xmldom';

type Element = {
  readonly tagName: string;
  readonly textContent: string | null;
  readonly childNodes: Iterable<unknown>;
};

/** Where they disagree; undefined: nowhere. */
export function xmlDisagreement(json: unknown, xml: string): string | undefined {
  const root = new DOMParser().parseFromString(xml, 'text/xml').documentElement;
  return root === null ? 'there is no root' : compare(json, root, root.tagName);
}

function compare(json: unknown, element: Element, path: string): string | undefined {
  const children = [...element.childNodes].filter(
    (node): node is Element => typeof node === 'object' && node !== null && 'tagName' in node,
  );
  if (typeof json !== 'object' || json === null) return String(json) === element.textContent ? undefined : path;
  const values = Object.entries(json);
  if (children.length !== values.length) return `${path}: ${children.length} elements for ${values.length}`;
  const wrongName = Array.isArray(json)
    ? undefined
    : values.findIndex(([key], index) => children[index]!.tagName !== key);
  if (wrongName !== undefined && wrongName !== -1) return `${path}/${values[wrongName]![0]}`;
  return values
    .map(([, value], index) => compare(value, children[index]!, `${path}/${children[index]!.tagName}`))
    .find((found) => found !== undefined);
}
