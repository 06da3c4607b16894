import { readFile } from 'node:fs/promises';
import { Code, ConnectError, createClient, type Client, type Interceptor, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import * as assert from 'uvu/assert';
import { type ErrorCode } from '@scistream/core';
import { ERROR_CODES } from '@scistream/core/internal';
import { Control, v1 } from '@scistream/core/wire';

/** A client of both services with its own connection. */
export interface Peer {
  readonly control: Client<typeof Control>;
  readonly streams: Client<typeof v1.Streams>;
  /** Closes the connection and ends every call on it. */
  cut(): void;
}

export interface PeerOptions {
  /** https://host:port, or http://host:port for plain text */
  readonly url: string;
  /** File with the only trusted certificate; not read for plain text. */
  readonly certificate: string;
  /** Value of the metadata key `authorization`; absent: no such key. */
  readonly authorization?: string | undefined;
}

const authorize =
  (value: string | undefined): Interceptor =>
  (next) =>
  (request) => {
    if (value !== undefined) request.header.set('authorization', value);
    return next(request);
  };

/** Connects with gRPC over HTTP/2. Every peer has its own connection. */
export async function connectPeer({ url, certificate, authorization }: PeerOptions): Promise<Peer> {
  const sessions = new Http2SessionManager(
    url,
    {},
    url.startsWith('https:') ? { ca: await readFile(certificate) } : {},
  );
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager: sessions,
    interceptors: [authorize(authorization)],
  });
  return { ...clients(transport), cut: () => sessions.abort() };
}

/** Connects to the same port with another protocol over HTTP/1.1, one connection per call. */
export async function connectOverHttp1(
  protocol: 'connect' | 'grpc-web',
  { url, certificate, authorization }: PeerOptions,
): Promise<Omit<Peer, 'cut'>> {
  const options = {
    baseUrl: url,
    httpVersion: '1.1' as const,
    useBinaryFormat: protocol === 'grpc-web',
    nodeOptions: { ca: await readFile(certificate), agent: false as const },
    interceptors: [authorize(authorization)],
  };
  return clients(protocol === 'connect' ? createConnectTransport(options) : createGrpcWebTransport(options));
}

function clients(transport: Transport): Omit<Peer, 'cut'> {
  return { control: createClient(Control, transport), streams: createClient(v1.Streams, transport) };
}

/**
 * Expects a call to fail with one of our codes. Every error must have the gRPC status of its code, the code in the
 * trailing metadata, and message and suggestions in the detail.
 * @returns The message, for further checks.
 */
export async function refused(call: Promise<unknown>, code: ErrorCode): Promise<string> {
  const error = await call.then(
    (answer) => {
      throw new Error(`expected ${code}, but the answer was ${String(JSON.stringify(answer, plain)).slice(0, 500)}`);
    },
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) throw error;
  const found = error.metadata.get('scistream-code');
  assert.is(found, code, `scistream-code of: ${error.message}`);
  assert.is(Code[error.code], Code[ERROR_CODES[code].grpc], `status of ${code}`);
  const [detail] = error.findDetails(v1.ErrorInfoSchema);
  assert.is(detail?.code, code, `detail of ${code}`);
  assert.is(detail?.message, error.rawMessage, `message of ${code}`);
  return error.rawMessage;
}

const plain = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value);
