// The other site over HTTP, when it or the network misbehaves.

import { expect, test } from 'vitest';

import { HttpPeer } from '../../lib/site/peer-http.ts';

type Seen = { url: string; method: string; headers: Headers };

const key = 'k'.repeat(43);
const imageId = '0123456789abcdef01234567';
const packId = 'f'.repeat(32);

/** A peer whose answers are given; what it was asked is in `seen`. */
function peerWith(...answers: (Response | (() => Promise<Response>))[]): { peer: HttpPeer; seen: Seen[] } {
  const seen: Seen[] = [];
  const fetcher: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    seen.push({ url: request.url, method: request.method, headers: request.headers });
    const answer = answers.shift() ?? new Response(null, { status: 500 });
    return typeof answer === 'function' ? answer() : answer;
  };
  return { peer: new HttpPeer({ url: 'https://peer.test/', pool: 'my pool', key, fetch: fetcher }), seen };
}

const json = (status: number, body: unknown): Response => Response.json(body, { status });
const failure = (status: number, code: string): Response => json(status, { error: { code, message: 'why' } });
const pack = (headers: Record<string, string> = {}, status = 200): Response =>
  new Response('0123456789', { status, headers: { etag: '"e"', 'content-length': '10', ...headers } });

test('peer: names in its address are percent-encoded, and the key is in the header only', async () => {
  const { peer, seen } = peerWith(json(200, { records: [], next: 5, more: false }));
  expect(await peer.feed(5)).toEqual({ records: [], next: 5, more: false });
  expect(seen[0]).toMatchObject({ url: 'https://peer.test/peer/v1/pools/my%20pool/feed?from=5', method: 'GET' });
  expect(seen[0]!.headers.get('authorization')).toBe(`Bearer ${key}`);
});

test.each<[Response, string, string]>([
  [failure(401, 'EACCES'), 'EACCES', 'never'],
  [failure(403, 'EPERM'), 'EACCES', 'never'],
  [failure(404, 'ENOENT'), 'ENOENT', 'never'],
  [failure(501, 'ENOSYS'), 'ENOSYS', 'never'],
  [failure(503, 'EAGAIN'), 'EAGAIN', 'later'],
  [failure(500, 'EIO'), 'EIO', 'later'],
  [failure(500, 'EBADMSG'), 'EBADMSG', 'later'],
  [failure(409, 'NOSUCHCODE'), 'EIO', 'later'],
  [new Response('<html>bad gateway</html>', { status: 502 }), 'ECONNREFUSED', 'later'],
  [new Response(null, { status: 429 }), 'ECONNREFUSED', 'later'],
  [new Response('<html>not here</html>', { status: 404 }), 'EIO', 'later'],
  [new Response(null, { status: 302, headers: { location: 'https://elsewhere.test' } }), 'EIO', 'later'],
  [new Response('not json', { status: 200 }), 'EBADMSG', 'later'],
  [json(200, { records: 'none' }), 'EBADMSG', 'later'],
])('peer: failure %# becomes %s', async (answer, code, retry) => {
  const error = await peerWith(answer)
    .peer.feed(0)
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: 'FarsideError', code, retry });
  expect(String(error)).not.toContain(key);
});

test('peer: unreachable and silent ones are told apart, and both may be tried later', async () => {
  const refused = peerWith(async () => {
    throw new TypeError('fetch failed');
  });
  await expect(refused.peer.catalog()).rejects.toMatchObject({ code: 'ECONNREFUSED', retry: 'later' });
  const silent = peerWith(async () => {
    throw new DOMException('timed out', 'TimeoutError');
  });
  await expect(silent.peer.catalog()).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
  const broken = new ReadableStream({ pull: (controller) => controller.error(new TypeError('terminated')) });
  await expect(peerWith(new Response(broken)).peer.catalog()).rejects.toMatchObject({
    code: 'ECONNREFUSED',
    retry: 'later',
  });
});

test('peer: a pack is read whole or in part, with its tag and the size of the copy', async () => {
  const whole = peerWith(pack());
  expect(await whole.peer.pack(imageId, packId)).toMatchObject({ status: 'found', etag: 'e', objectBytes: 10 });
  const part = peerWith(pack({ 'content-range': 'bytes 5-14/99' }, 206));
  const answer = await part.peer.pack(imageId, packId, { range: { offset: 5, length: 10 }, ifMatch: 'e' });
  expect(answer).toMatchObject({ status: 'found', objectBytes: 99 });
  expect(part.seen[0]!.headers.get('range')).toBe('bytes=5-14');
  expect(part.seen[0]!.headers.get('if-match')).toBe('"e"');
});

test('peer: a pack that is absent, changed, or has no byte in the range', async () => {
  expect(await peerWith(failure(404, 'ENOENT')).peer.pack(imageId, packId)).toEqual({ status: 'absent' });
  expect(await peerWith(failure(412, 'ESTALE')).peer.pack(imageId, packId)).toEqual({ status: 'changed' });
  const past = peerWith(new Response(null, { status: 416, headers: { etag: '"e"', 'content-range': 'bytes */10' } }));
  const answer = await past.peer.pack(imageId, packId, { range: { offset: 10, length: 5 } });
  expect(answer).toEqual({ status: 'found', body: new Uint8Array(), etag: 'e', objectBytes: 10 });
});

test('peer: a 404 that is not the site’s own does not make a pack absent', async () => {
  await expect(peerWith(new Response('nginx', { status: 404 })).peer.pack(imageId, packId)).rejects.toMatchObject({
    retry: 'later',
  });
});

test('peer: a redirected pack is fetched without the key, with range and tag', async () => {
  const { peer, seen } = peerWith(
    new Response(null, { status: 307, headers: { location: 'https://storage.test/signed?x=1' } }),
    pack({ 'content-range': 'bytes 0-9/50' }, 206),
  );
  expect(await peer.pack(imageId, packId, { range: { offset: 0, length: 10 }, ifMatch: 'e' })).toMatchObject({
    status: 'found',
    objectBytes: 50,
  });
  expect(seen.map(({ headers }) => headers.get('authorization'))).toEqual([`Bearer ${key}`, null]);
  expect(seen[1]).toMatchObject({ url: 'https://storage.test/signed?x=1' });
  expect(seen[1]!.headers.get('range')).toBe('bytes=0-9');
  expect(seen[1]!.headers.get('if-match')).toBe('"e"');
});

test('peer: of a cut that is answered by the whole pack elsewhere, all is read there without the key', async () => {
  const { peer, seen } = peerWith(
    new Response(null, { status: 303, headers: { location: 'https://storage.test/signed?x=1' } }),
    pack({}),
  );
  expect(await peer.packEntries(imageId, packId, { entries: [[0, 1]] })).toMatchObject({ status: 'found' });
  expect(seen.map(({ method }) => method)).toEqual(['POST', 'GET']);
  expect(seen[1]!.headers.get('authorization')).toBeNull();
});

test("peer: S3's own word that there is no such object means no such pack; another 404 elsewhere means nothing", async () => {
  const elsewhere = (body: string) =>
    peerWith(
      new Response(null, { status: 307, headers: { location: 'https://storage.test/x' } }),
      new Response(body, { status: 404 }),
    ).peer;
  const gone = '<Error><Code>NoSuchKey</Code></Error>';
  expect(await elsewhere(gone).pack(imageId, packId)).toEqual({ status: 'absent' });
  await expect(elsewhere('not found').pack(imageId, packId)).rejects.toMatchObject({ retry: 'later' });
});

test('peer: a redirect to another host, also by port, never carries the key; one to itself does', async () => {
  for (const location of ['https://peer.test:8443/x', '//evil.test/x']) {
    const { peer, seen } = peerWith(new Response(null, { status: 302, headers: { location } }), pack());
    await peer.pack(imageId, packId);
    expect([location, seen[1]!.headers.get('authorization')]).toEqual([location, null]);
  }
  const own = peerWith(new Response(null, { status: 302, headers: { location: '/elsewhere' } }), pack());
  await own.peer.pack(imageId, packId);
  expect(own.seen[1]!.headers.get('authorization')).toBe(`Bearer ${key}`);
});

test('peer: nobody is sent from https to http, where only this site may come', async () => {
  for (const location of ['http://peer.test/x', 'http://127.0.0.1:9001/2018-06-01/runtime/invocation/next']) {
    const { peer, seen } = peerWith(new Response(null, { status: 302, headers: { location } }), pack());
    await expect(peer.pack(imageId, packId)).rejects.toMatchObject({ code: 'EIO', retry: 'later' });
    expect(seen).toHaveLength(1);
  }
});

test('peer: what a peer says of its failure is one line', async () => {
  const body = JSON.stringify({ error: { code: 'EIO', message: 'first\n2026-11-26 second\u2028third' } });
  await expect(peerWith(new Response(body, { status: 500 })).peer.catalog()).rejects.toMatchObject({
    message: 'peer peer.test: first 2026-11-26 second third',
  });
});

test('peer: redirects without end, and to what is not HTTP, fail', async () => {
  const loop = (): Response => new Response(null, { status: 302, headers: { location: 'https://peer.test/loop' } });
  await expect(peerWith(loop(), loop(), loop(), loop(), loop()).peer.pack(imageId, packId)).rejects.toMatchObject({
    code: 'EIO',
    retry: 'later',
  });
  const withUser = new Response(null, { status: 302, headers: { location: 'https://user@evil.test/x' } });
  await expect(peerWith(withUser).peer.pack(imageId, packId)).rejects.toMatchObject({ retry: 'later' });
  const file = new Response(null, { status: 302, headers: { location: 'file:///etc/passwd' } });
  await expect(peerWith(file).peer.pack(imageId, packId)).rejects.toMatchObject({ code: 'EIO' });
});

test('peer: bodies beyond what a pack can be are not read', async () => {
  const announced = pack({ 'content-length': String(2 ** 40) });
  await expect(peerWith(announced).peer.pack(imageId, packId)).rejects.toMatchObject({ code: 'EFBIG' });
  let chunks = 0;
  const endless = new ReadableStream({
    pull: (controller) => {
      chunks += 1;
      controller.enqueue(new Uint8Array(2 ** 20));
    },
  });
  const streamed = new Response(endless, { headers: { etag: '"e"' } });
  await expect(peerWith(streamed).peer.pack(imageId, packId)).rejects.toMatchObject({ code: 'EFBIG' });
  expect(chunks).toBeLessThan(80);
});

test('peer: a pack without tag or size is refused', async () => {
  await expect(peerWith(new Response('x')).peer.pack(imageId, packId)).rejects.toMatchObject({ code: 'EBADMSG' });
});
