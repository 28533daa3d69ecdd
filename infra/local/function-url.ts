// Owns what a Lambda function URL does on AWS: turns HTTP requests into events of payload version 2.0 and streamed answers back
// into HTTP, and refuses requests that are too large for an event.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Clock } from '../../lib/clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { describeFailure } from '../../lib/site/delivery.ts';
import { loopback, portInUse } from './free-port.ts';
import { lambdaContext } from './lambda-context.ts';

/** Of an event, in which a body stands as base64. */
export const eventBytesMax = 6 * 1024 * 1024;

/** As the runtime calls it; `streamHandle` declares another type. */
export type StreamingHandler = (event: unknown, stream: ServerResponse, context: unknown) => Promise<unknown>;
type Metadata = { statusCode: number; headers?: Record<string, string>; cookies?: string[] };

/** The runtime's global by which a handler streams; to be there before a handler is made. The stream is the HTTP response itself. */
export function provideStreaming(): void {
  const from = (response: ServerResponse, { statusCode, headers = {}, cookies = [] }: Metadata): ServerResponse =>
    response.writeHead(statusCode, { ...headers, ...(cookies.length > 0 && { 'set-cookie': cookies }) });
  const streamifyResponse = (handler: StreamingHandler): StreamingHandler => handler;
  Object.assign(globalThis, { awslambda: { streamifyResponse, HttpResponseStream: { from } } });
}

export type FunctionUrl = {
  handler: StreamingHandler;
  port: number;
  /** Lambda's `eventBytesMax`, or more where there is no Lambda. */
  bodyBytesMax: number;
  clock: Clock;
  log: (line: string) => void;
};

export function serveFunctionUrl(options: FunctionUrl): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((request, response) => void answer(options, request, response));
    server.once('error', (cause) => reject(portInUse(options.port, cause)));
    server.listen(options.port, loopback, () => resolve(server));
  });
}

async function answer(options: FunctionUrl, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const body = await readBody(request, options.bodyBytesMax);
    if (body === undefined) return refuse(response, options.bodyBytesMax);
    const event = eventOf(request, body, options.clock.nowMs());
    await options.handler(event, response, lambdaContext(options.clock));
  } catch (cause) {
    options.log(`a request failed: ${describeFailure(cause)}`);
    response.destroy();
  }
}

/** Undefined: too large. The rest is not read. */
async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function refuse(response: ServerResponse, bytesMax: number): void {
  const message = `the body is larger than ${bytesMax} bytes`;
  response.writeHead(413, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify({ error: { code: 'EFBIG', message } }));
}

function eventOf(request: IncomingMessage, body: Buffer, nowMs: number): object {
  const [rawPath = '/', rawQueryString = ''] = (request.url ?? '/').split(/\?(.*)/s);
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]),
  );
  const http = {
    method: request.method,
    path: rawPath,
    protocol: `HTTP/${request.httpVersion}`,
    sourceIp: request.socket.remoteAddress ?? '',
    userAgent: headers['user-agent'] ?? '',
  };
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString,
    headers,
    requestContext: {
      accountId: 'anonymous',
      apiId: 'local',
      domainName: headers['host'] ?? loopback,
      domainPrefix: 'local',
      http,
      requestId: systemRandom.uuid(),
      routeKey: '$default',
      stage: '$default',
      timeEpoch: nowMs,
    },
    isBase64Encoded: true,
    ...(body.length > 0 && { body: body.toString('base64') }),
  };
}
