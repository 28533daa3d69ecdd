import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { Bucket } from '../../lib/bucket/bucket.ts';
import { probeBucket } from '../../lib/bucket/probe.ts';
import { S3Driver, type S3DriverOptions } from '../../lib/bucket/s3.ts';
import { systemClock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { startLocalAws } from '../local-aws.ts';
import { freshS3, hasRadosgw } from '../radosgw/radosgw.ts';
import { newBucket } from '../radosgw/server.ts';
import { describeBucket } from './conformance.ts';
import { evenRandom, StillClock } from './faults.ts';

const lacksRadosgw = !hasRadosgw();
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

describe.skipIf(lacksRadosgw)('on a real server', () => {
  describeBucket('s3 (radosgw)', async () => {
    const place = await freshS3();
    return { open: () => new S3Driver(place), close: async () => undefined };
  });
});

describe.skipIf(lacksRadosgw)('s3 driver on radosgw', () => {
  test('the probe accepts it', async () => {
    const deps = { clock: systemClock, random: systemRandom };
    await probeBucket(new Bucket(new S3Driver(await freshS3()), deps), deps);
  });

  test('a presigned URL is read without credentials, also in part and under a condition, and not once it is changed', async () => {
    const driver = new S3Driver(await freshS3());
    const key = "images/é 'x'+y/pack";
    await driver.put(key, text('0123456789'), 'absent');
    const url = await driver.presignGet(key, 60);
    expect(await (await fetch(url)).text()).toBe('0123456789');
    const etag = (await driver.head(key))!.etag;
    const part = await fetch(url, { headers: { range: 'bytes=3-5', 'if-match': `"${etag}"` } });
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([206, 'bytes 3-5/10', '345']);
    expect((await fetch(url, { headers: { 'if-match': '"0123"' } })).status).toBe(412);
    expect((await fetch(url.replace('pack?', 'park?'))).status).toBe(403);
    expect((await fetch(await driver.presignGet('images/none', 60))).status).toBe(404);
  });

  test('wrong credentials are EACCES, a missing bucket is ENOENT, and neither is repeated', async () => {
    const place = await freshS3();
    const stranger = new S3Driver({ ...place, credentials: { accessKeyId: 'AKNOBODY', secretAccessKey: 'x' } });
    const denied = { code: 'EACCES', retry: 'never' };
    await expect(stranger.get('x')).rejects.toMatchObject(denied);
    await expect(stranger.head('x')).rejects.toMatchObject(denied);
    await expect(stranger.put('x', text('x'), 'absent')).rejects.toMatchObject(denied);
    const lost = new S3Driver({ ...place, bucket: 'no-such-bucket' });
    const absent = { code: 'ENOENT', retry: 'never', message: expect.stringContaining("bucket 'no-such-bucket'") };
    await expect(lost.get('x')).rejects.toMatchObject(absent);
    await expect(lost.put('x', text('x'), 'absent')).rejects.toMatchObject(absent);
    await expect(lost.put('x', text('x'), { etag: 'abc' })).rejects.toMatchObject(absent);
    await expect(lost.list({ prefix: '', limit: 1 })).rejects.toMatchObject(absent);
    await expect(lost.delete(['x'])).rejects.toMatchObject(absent);
  });
});

test("R2's S3 API takes tags with quotes and no others: the driver learns it, and the probe accepts it", async () => {
  const credentials = { accessKeyId: 'AKTEST', secretAccessKey: 'SKTEST' };
  const worker = {
    name: 'store',
    modules: true as const,
    script: 'export default {}',
    compatibilityDate: '2026-10-01',
    r2Buckets: { BUCKET: { id: 'images', s3Credentials: credentials } },
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({ host: '127.0.0.1', port: 0, cf: false, workers: [worker] }),
  );
  try {
    const endpoint = new URL('/cdn-cgi/local/r2/s3', await miniflare.ready).href;
    const driver = new S3Driver({ bucket: 'images', region: 'auto', endpoint, pathStyle: true, credentials });
    const deps = { clock: systemClock, random: systemRandom };
    await probeBucket(new Bucket(driver, deps), deps);
    const first = await driver.put('x', text('1'), 'absent');
    expect(first).toMatchObject({ status: 'stored' });
    expect(await driver.put('x', text('2'), { etag: '0123456789abcdef0123456789abcdef' })).toEqual({
      status: 'refused',
    });
  } finally {
    await miniflare.dispose();
  }
});

test('fauxqs takes conditional puts and ignores the conditions: the probe says so and refuses it', async () => {
  const server = await startLocalAws();
  try {
    const driver = new S3Driver(await newBucket(server.endpoint));
    const deps = { clock: systemClock, random: systemRandom };
    await expect(probeBucket(new Bucket(driver, deps), deps)).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
      message: expect.stringMatching(/^the s3 store ignores put-if-absent .*farside cannot keep images safe on it/),
    });
  } finally {
    await server.stop();
  }
});

describe('s3 driver on faults that the real server does not show', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function serving(listener: RequestListener, options: Partial<S3DriverOptions> = {}): Promise<S3Driver> {
    const server = createServer(listener).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return new S3Driver({
      bucket: 'images',
      region: 'us-east-1',
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      pathStyle: true,
      credentials: { accessKeyId: 'AK', secretAccessKey: 'SK' },
      ...options,
    });
  }

  const failing =
    (status: number, code: string): RequestListener =>
    (request, response) => {
      request.resume().on('end', () => {
        response.writeHead(status, { 'content-type': 'application/xml' });
        response.end(request.method === 'HEAD' ? '' : `<Error><Code>${code}</Code><Message>said</Message></Error>`);
      });
    };

  test.each([
    [409, 'ConditionalRequestConflict', 'EAGAIN', 'now'],
    [409, 'OperationAborted', 'EAGAIN', 'now'],
    [429, 'TooManyRequests', 'EAGAIN', 'later'],
    [503, 'SlowDown', 'EAGAIN', 'later'],
    [503, 'ServiceUnavailable', 'EAGAIN', 'later'],
    [500, 'InternalError', 'EIO', 'later'],
    [500, 'UnknownError', 'EAGAIN', 'now'],
    [501, 'NotImplemented', 'EOPNOTSUPP', 'never'],
    [400, 'EntityTooLarge', 'EFBIG', 'never'],
    [400, 'RequestTimeout', 'ETIMEDOUT', 'later'],
    [400, 'ExpiredToken', 'EACCES', 'never'],
    [400, 'InvalidBucketName', 'EINVAL', 'never'],
    [403, 'AccessDenied', 'EACCES', 'never'],
    [403, 'QuotaExceeded', 'ENOSPC', 'never'],
    [403, 'RequestTimeTooSkewed', 'EAGAIN', 'now'],
    [301, 'PermanentRedirect', 'EINVAL', 'never'],
  ])('a put answered by %i %s is %s, to be repeated %s, and was sent once', async (status, code, errno, retry) => {
    let requestCount = 0;
    const driver = await serving((request, response) => {
      requestCount += 1;
      failing(status, code)(request, response);
    });
    await expect(driver.put('x', text('x'), 'absent')).rejects.toMatchObject({ code: errno, retry });
    expect(requestCount).toBe(1);
  });

  test('AWS gets a checksum with every put, which Object Lock demands; other servers, of which some refuse it, do not', async () => {
    const checksums: (string | undefined)[] = [];
    const listener: RequestListener = (request, response) => {
      checksums.push(request.headers['x-amz-checksum-crc32'] as string | undefined);
      request.resume().on('end', () => response.writeHead(200, { etag: '"e"' }).end());
    };
    const elsewhere = await serving(listener);
    await elsewhere.put('x', text('x'), 'absent');
    // Without an endpoint it is AWS; only the SDK's own variable leads it here.
    vi.stubEnv('AWS_ENDPOINT_URL_S3', `http://127.0.0.1:${(servers[0]!.address() as AddressInfo).port}`);
    const aws = new S3Driver({
      bucket: 'images',
      region: 'us-east-1',
      credentials: { accessKeyId: 'AK', secretAccessKey: 'SK' },
    });
    await aws.put('x', text('x'), 'absent');
    vi.unstubAllEnvs();
    expect(checksums).toEqual([undefined, 'jNwWgw==']);
  });

  test('412 refuses a put, 404 refuses a replace', async () => {
    const refused = { status: 'refused' };
    const unmet = await serving((request, response) => {
      if (request.method !== 'HEAD') return failing(412, 'PreconditionFailed')(request, response);
      const headers = { etag: '"def"', 'last-modified': new Date(0).toUTCString(), 'content-length': 1 };
      return void response.writeHead(200, headers).end();
    });
    expect(await unmet.put('x', text('x'), 'absent')).toEqual(refused);
    expect(await unmet.put('x', text('x'), { etag: 'abc' })).toEqual(refused);
    const absent = await serving(failing(404, 'NoSuchKey'));
    expect(await absent.put('x', text('x'), { etag: 'abc' })).toEqual(refused);
    expect(await absent.get('x')).toEqual({ status: 'absent' });
  });

  test('a replace that was sent before another one showed how tags are written is asked again, too', async () => {
    const fastIsStored = Promise.withResolvers<void>();
    const driver = await serving((request, response) => {
      const isBare = request.headers['if-match'] === 'abc';
      const wait =
        request.method === 'PUT' && !isBare && request.url?.includes('slow') ? fastIsStored.promise : undefined;
      const answer = (): void => {
        if (isBare && request.url?.includes('fast')) fastIsStored.resolve();
        const headers = { etag: '"abc"', 'last-modified': new Date(0).toUTCString(), 'content-length': 0 };
        response.writeHead(request.method === 'PUT' && !isBare ? 412 : 200, headers).end();
      };
      request.resume().on('end', () => void Promise.resolve(wait).then(answer));
    });
    const put = (key: string) => driver.put(key, text('2'), { etag: 'abc' });
    const outcomes = await Promise.all([put('slow'), put('fast')]);
    expect(outcomes.map(({ status }) => status)).toEqual(['stored', 'stored']);
  });

  test('501 is a store without conditions, which the probe passes on with what is missing', async () => {
    const driver = await serving(failing(501, 'NotImplemented'));
    const bucket = new Bucket(driver, { clock: new StillClock(), random: evenRandom });
    await expect(probeBucket(bucket, { random: systemRandom })).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
      message: expect.stringContaining('farside needs conditional writes'),
    });
  });

  test('a put without an answer is unclear; its repeat is refused by what it wrote, and read back as won', async () => {
    let stored: Buffer | undefined;
    const driver = await serving((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        if (request.method === 'GET') {
          const headers = {
            etag: '"abc"',
            'last-modified': new Date(0).toUTCString(),
            'content-length': stored?.length,
          };
          response.writeHead(200, headers).end(stored);
        } else if (stored) {
          response.writeHead(412).end();
        } else {
          stored = Buffer.concat(chunks);
          request.socket.destroy();
        }
      });
    });
    const bucket = new Bucket(driver, { clock: new StillClock(), random: evenRandom });
    expect(await bucket.create('x', text('mine'))).toEqual({ created: true, etag: 'abc' });
    expect(stored?.toString()).toBe('mine');
  });

  test('a server that is not there is ECONNREFUSED; a body that ends early is a passing fault', async () => {
    const gone = await serving(() => undefined, { endpoint: 'http://127.0.0.1:1' });
    await expect(gone.get('x')).rejects.toMatchObject({ code: 'ECONNREFUSED', retry: 'later' });
    const broken = await serving((_, response) => {
      response.writeHead(200, { etag: '"a"', 'last-modified': new Date(0).toUTCString(), 'content-length': '100' });
      response.write('half');
      setImmediate(() => response.destroy());
    });
    await expect(broken.get('x')).rejects.toMatchObject({ retry: 'later' });
  });

  test('a body that stalls is given up', async () => {
    const stalled = await serving(
      (_, response) => {
        response.writeHead(200, { etag: '"a"', 'last-modified': new Date(0).toUTCString(), 'content-length': '100' });
        response.write('half');
      },
      { idleTimeoutMs: 300 },
    );
    await expect(stalled.get('x')).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
    const silent = await serving(() => undefined, { idleTimeoutMs: 300 });
    await expect(silent.put('x', text('x'), 'absent')).rejects.toMatchObject({ code: 'ETIMEDOUT', retry: 'later' });
  });

  test('some keys that a batch could not delete are a failure that names the first', async () => {
    const driver = await serving((request, response) => {
      request.resume().on('end', () => {
        response.end('<DeleteResult><Error><Key>b</Key><Code>InternalError</Code></Error></DeleteResult>');
      });
    });
    await expect(driver.delete(['a', 'b'])).rejects.toMatchObject({
      code: 'EIO',
      retry: 'later',
      message: "S3 delete of 2 keys: 'b': InternalError",
    });
  });

  test('a list follows empty pages to the first key, and not for ever', async () => {
    const page = (content: string, token?: string): string =>
      `<ListBucketResult><IsTruncated>${token !== undefined}</IsTruncated>${content}${token ? `<NextContinuationToken>${token}</NextContinuationToken>` : ''}</ListBucketResult>`;
    const object =
      '<Contents><Key>x</Key><Size>1</Size><ETag>&quot;e&quot;</ETag><LastModified>1970-01-01T00:00:05.678Z</LastModified></Contents>';
    const driver = await serving((request, response) => {
      response.end(request.url?.includes('continuation-token=c1') ? page(object) : page('', 'c1'));
    });
    expect(await driver.list({ prefix: '', limit: 5 })).toEqual({
      objects: [{ key: 'x', bytes: 1, etag: 'e', uploadedAtMs: 5000 }],
      more: false,
    });
    const endless = await serving((_, response) => void response.end(page('', 'c')));
    await expect(endless.list({ prefix: '', limit: 5 })).rejects.toMatchObject({ code: 'EIO', retry: 'later' });
  });
});
