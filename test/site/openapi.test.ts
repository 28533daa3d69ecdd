// The OpenAPI document that a site serves is made from the schemas that validate its requests, and is complete.

import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';

import { publicPaths } from '../../lib/site/api/access.ts';
import { startedSite, type StartedSite } from './started-site.ts';

let site: StartedSite;
/* oxlint-disable-next-line no-explicit-any -- a JSON document */
let document: any;

beforeAll(async () => {
  site = await startedSite();
  document = (await site.ok('GET', '/openapi.json', undefined, null)).json;
});

const methods = ['get', 'put', 'post', 'delete', 'patch'] as const;

/* oxlint-disable-next-line no-explicit-any */
const operations = (): { path: string; method: string; operation: any }[] =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = (item as Record<string, unknown>)[method];
      return operation === undefined ? [] : [{ path, method, operation }];
    }),
  );

test('openapi: it is a 3.1 document with identity, servers and security schemes', () => {
  expect(document.openapi).toBe('3.1.0');
  expect(document.info).toMatchObject({ title: 'farside site', license: { name: 'Apache-2.0' } });
  expect(Object.keys(document.components.securitySchemes).toSorted()).toEqual(['admin', 'bootstrap', 'client', 'peer']);
  for (const scheme of Object.values(document.components.securitySchemes))
    expect(scheme).toMatchObject({ type: 'http', scheme: 'bearer' });
});

test('openapi: every route of the app is in it, and nothing else', () => {
  const served = site.app.routes
    .filter(({ method, path }) => method !== 'ALL' && path !== '/openapi.json')
    .map(
      ({ method, path }) =>
        `${method.toLowerCase()} ${path.replace(/:([a-zA-Z]+)/g, '{$1}').replace('/v1/store{delete}', '/v1/store:delete')}`,
    );
  expect(
    operations()
      .map(({ method, path }) => `${method} ${path}`)
      .toSorted(),
  ).toEqual([...new Set(served)].toSorted());
});

test('openapi: every operation says what it is, what it answers and which token it wants', () => {
  for (const { path, method, operation } of operations()) {
    const security = operation.security ?? document.security;
    const where = `${method} ${path}`;
    expect(operation.summary, where).toMatch(/^[A-Z].{5,}/);
    expect(operation.tags, where).toHaveLength(1);
    expect(document.tags.map(({ name }: { name: string }) => name)).toContain(operation.tags[0]);
    expect(Object.keys(operation.responses).length, where).toBeGreaterThan(0);
    expect(security.length === 0, where).toBe(publicPaths.includes(path));
    for (const one of security) expect(Object.keys(document.components.securitySchemes)).toContain(Object.keys(one)[0]);
  }
});

test('openapi: every parameter in a path is declared, and required', () => {
  for (const { path, method, operation } of operations()) {
    const named = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]!);
    const declared = (operation.parameters ?? []).filter((one: { in: string }) => one.in === 'path');
    expect(declared.map(({ name }: { name: string }) => name).toSorted(), `${method} ${path}`).toEqual(
      named.toSorted(),
    );
    for (const one of declared) expect(one.required).toBe(true);
  }
});

test('openapi: every reference leads somewhere', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
    (match) => match[1]!,
  );
  expect(references.length).toBeGreaterThan(0);
  for (const name of references) expect(Object.keys(document.components.schemas)).toContain(decodeURIComponent(name));
});

/** A schema of the document, as one that stands alone. */
function validatorOf(schema: unknown): z.ZodType {
  const alone = (part: unknown): unknown =>
    JSON.parse(JSON.stringify(part).replaceAll('#/components/schemas/', '#/$defs/'));
  return z.fromJSONSchema({ ...(alone(schema) as object), $defs: alone(document.components.schemas) } as Parameters<
    typeof z.fromJSONSchema
  >[0]);
}

test('openapi: every schema is a JSON schema', () => {
  for (const [name, schema] of Object.entries(document.components.schemas))
    expect(() => validatorOf(schema), name).not.toThrow();
});

test('openapi: what the site answers fits what the document says', async () => {
  await site.ok('POST', '/v1/pools', { name: 'rbd' });
  await site.ok('POST', '/v1/pools/rbd/images', { name: 'a', sizeBytes: 10 });
  await site.ok('POST', '/v1/pools/rbd/images/a/snaps', { name: 's' });
  const answers = {
    '/v1/pools/{pool}/images': '/v1/pools/rbd/images',
    '/v1/pools/{pool}/images/{image}': '/v1/pools/rbd/images/a',
    '/v1/pools/{pool}/images/{image}/snaps': '/v1/pools/rbd/images/a/snaps?all=true',
    '/v1/site': '/v1/site',
    '/health': '/health',
  };
  for (const [path, url] of Object.entries(answers)) {
    const validator = validatorOf(document.paths[path].get.responses['200'].content['application/json'].schema);
    const { json } = await site.ok('GET', url);
    expect(z.prettifyError(validator.safeParse(json).error ?? new z.ZodError([])), url).toBe('');
    expect(validator.safeParse([{ nonsense: 1 }]).success, url).toBe(false);
  }
});
