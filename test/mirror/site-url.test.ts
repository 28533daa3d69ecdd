import { expect, test } from 'vitest';

import { registerSchema, wakeSchema } from '../../lib/mirror/peer-protocol.ts';
import { siteUrlFault } from '../../lib/mirror/site-url.ts';
import { decodeToken, encodeToken } from '../../lib/mirror/peers/token.ts';

test.each([
  ['https://site-a.example', undefined],
  ['https://site-a.example:8443/base/', undefined],
  ['http://127.0.0.1:8470', undefined],
  ['http://localhost:8470', undefined],
  ['http://[::1]:8470', undefined],
  ['http://site-a.example', 'insecure'],
  ['http://127.0.0.1.example', 'insecure'],
  ['file:///etc/passwd', 'insecure'],
  ['ftp://127.0.0.1', 'insecure'],
  ['https://user:password@site-a.example', 'credentials'],
  ['https://site-a.example/?token=1', 'credentials'],
  ['https://site-a.example/#x', 'credentials'],
  ['site-a', 'malformed'],
  ['', 'malformed'],
  [`https://site-a.example/${'x'.repeat(2048)}`, 'malformed'],
])('the address %s: %s', (url, fault) => {
  expect(siteUrlFault(url)).toBe(fault);
});

test('a key is not shown to a site in the clear: its token is refused, and so is its registration', () => {
  const token = (url: string): string => encodeToken({ fsid: 'f', key: 'k'.repeat(43), mon_host: url });
  expect(decodeToken(token('https://b.example')).mon_host).toBe('https://b.example');
  expect(() => decodeToken(token('http://b.example'))).toThrow('neither https nor on this machine');
  expect(() => decodeToken(token('https://u:p@b.example'))).toThrow('invalid bootstrap token JSON');
  const registration = { fsid: 'f', siteName: 'b', mirrorUuid: 'm', direction: 'rx-tx', key: 'k'.repeat(43) };
  expect(registerSchema.safeParse({ ...registration, url: 'https://b.example' }).success).toBe(true);
  expect(registerSchema.safeParse({ ...registration, url: 'http://b.example' }).success).toBe(false);
});

test('a global id from a peer is fit to be a part of a key and the name of a property', () => {
  expect(wakeSchema.safeParse({ globalIds: ['6225a593-9592-4e15-8959-b2117a6d3917'] }).success).toBe(true);
  for (const globalId of ['', '__proto__', 'constructor', '../x', 'a/b', 'x'.repeat(65)])
    expect(wakeSchema.safeParse({ globalIds: [globalId] }).success).toBe(false);
});
