import { isIP } from 'node:net';
import type {
  ControlRequest,
  RelayAddress,
  RelayConfig,
  RelayDestination,
  RelayListener,
  RelayTarget,
  RelayTls,
} from './protocol.js';

// No schema library: to load one takes longer than the rest of the start.

/** Maximum delay of a Node.js timer, ms (2^31 - 1). A longer delay would fire immediately. */
const MAX_MS = 2_147_483_647;

/**
 * Parses the text of `relay.json`.
 * @throws Error with the key and its value
 */
export function parseConfig(text: string): RelayConfig {
  const raw = record('relay.json', JSON.parse(text));
  if (raw['transport'] !== 'tcp' && raw['transport'] !== 'udp') {
    throw invalid('transport', raw['transport'], '"tcp" or "udp"');
  }
  const listeners = list('listeners', raw['listeners']).map(listener);
  if (listeners.length === 0) throw invalid('listeners', raw['listeners'], 'at least one listener');
  return {
    transport: raw['transport'],
    listeners,
    targets: parseTargets(raw['targets'], listeners.length),
    holdMs: integer('holdMs', raw['holdMs'], 0, MAX_MS),
    connectTimeoutMs: integer('connectTimeoutMs', raw['connectTimeoutMs'], 1, MAX_MS),
    retryMs: integer('retryMs', raw['retryMs'], 1, MAX_MS),
    udpSessionMs: integer('udpSessionMs', raw['udpSessionMs'], 1, MAX_MS),
    keepaliveIdleMs: integer('keepaliveIdleMs', raw['keepaliveIdleMs'], 1, MAX_MS),
    keepaliveProbingMs: integer('keepaliveProbingMs', raw['keepaliveProbingMs'], 1, MAX_MS),
    ...(raw['maxConnections'] === undefined
      ? {}
      : { maxConnections: integer('maxConnections', raw['maxConnections'], 1, 1_000_000) }),
    ...(raw['tls'] === undefined ? {} : { tls: tls(raw['tls']) }),
    ...(raw['sources'] === undefined ? {} : { sources: sources(raw['sources']) }),
    ...(raw['revision'] === undefined ? {} : { revision: word('revision', raw['revision']) }),
  };
}

/**
 * Parses one request line of the control socket.
 * @param listeners Number of listeners; a list of targets is empty or has this length.
 * @throws Error whose message is the reply
 */
export function parseRequest(line: string, listeners: number): ControlRequest {
  const raw = record('request', JSON.parse(line));
  switch (raw['cmd']) {
    case 'status':
      return { cmd: 'status' };
    case 'targets':
      return { cmd: 'targets', targets: parseTargets(raw['targets'], listeners) };
    default:
      throw invalid('cmd', raw['cmd'], '"status" or "targets"');
  }
}

function tls(value: unknown): RelayTls {
  const { leg, peer, handshakeMs, probe } = record('tls', value);
  if (leg !== 'listeners' && leg !== 'targets') throw invalid('tls.leg', leg, '"listeners" or "targets"');
  return {
    leg,
    peer: word('tls.peer', peer),
    handshakeMs: integer('tls.handshakeMs', handshakeMs, 1, MAX_MS),
    ...(probe === undefined ? {} : { probe: word('tls.probe', probe) }),
  };
}

/** Rejects an empty list, which would reject all clients. `Sources` parses the networks. */
function sources(value: unknown): readonly string[] {
  const networks = list('sources', value);
  if (networks.length === 0) throw invalid('sources', value, 'at least one network');
  return networks.map((item, i) => {
    if (typeof item !== 'string') throw invalid(`sources[${i}]`, item, 'a network');
    return item;
  });
}

function parseTargets(value: unknown, listeners: number): readonly RelayTarget[] {
  const targets = list('targets', value).map((item, i) => target(`targets[${i}]`, item));
  if (targets.length !== 0 && targets.length !== listeners) {
    throw new Error(`targets has ${targets.length} entries; expected 0 or ${listeners}, one per listener`);
  }
  return targets;
}

function target(name: string, value: unknown): RelayTarget {
  const { fallbacks } = record(name, value);
  const parsed = destination(name, value);
  if (fallbacks === undefined) return parsed;
  const further = list(`${name}.fallbacks`, fallbacks);
  return { ...parsed, fallbacks: further.map((item, i) => destination(`${name}.fallbacks[${i}]`, item)) };
}

function destination(name: string, value: unknown): RelayDestination {
  const parsed = address(name, value);
  // The kernel connects an unspecified address to this host, so the relay would connect to itself.
  if (/^[0:.]+$/.test(parsed.host)) throw invalid(`${name}.host`, parsed.host, 'a specific address');
  const { localAddress } = record(name, value);
  if (localAddress === undefined) return parsed;
  return { ...parsed, localAddress: literal(`${name}.localAddress`, localAddress) };
}

function listener(value: unknown, index: number): RelayListener {
  const name = `listeners[${index}]`;
  const parsed = address(name, value);
  const { fd } = record(name, value);
  return fd === undefined ? parsed : { ...parsed, fd: integer(`${name}.fd`, fd, 3, 65_535) };
}

function address(name: string, value: unknown): RelayAddress {
  const { host, port } = record(name, value);
  return { host: literal(`${name}.host`, host), port: integer(`${name}.port`, port, 1, 65_535) };
}

function literal(name: string, value: unknown): string {
  if (typeof value !== 'string' || isIP(value) === 0) throw invalid(name, value, 'an IP address');
  return value;
}

function word(name: string, value: unknown): string {
  if (typeof value !== 'string' || !/^[\w.-]{1,255}$/.test(value)) throw invalid(name, value, 'letters, digits, _ . -');
  return value;
}

function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw invalid(name, value, `a whole number from ${min} to ${max}`);
  }
  return value;
}

function list(name: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(name, value, 'a list');
  return value;
}

function record(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(name, value, 'an object');
  return value as Readonly<Record<string, unknown>>;
}

function invalid(name: string, value: unknown, expected: string): Error {
  return new Error(`${name} is ${(JSON.stringify(value) ?? 'missing').slice(0, 100)}; expected ${expected}`);
}
