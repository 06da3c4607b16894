/** The lines of an audit log: what they say, and their size. */
import { createHash } from 'node:crypto';
import { formatAddress, type Address } from '../contracts/address.js';
import { type Identity, ownerOf } from '../contracts/authenticator.js';
import type { Action } from '../contracts/policy.js';

/** Entries of a list that a line has. A longer list has their number and a digest of all. */
const SHOWN = 8;
/** Longest text in a line, characters. */
const MAX_TEXT = 500;

/** A list for a line: complete, or its first entries, its length, and the SHA-256 of all entries joined by blanks. */
export function listed(entries: readonly string[]): unknown {
  if (entries.length <= SHOWN) return entries;
  const sha256 = createHash('sha256').update(entries.join(' ')).digest('hex');
  return { count: entries.length, first: entries.slice(0, SHOWN), sha256 };
}

/** A text of limited length for a line. */
export const shortened = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text;

const addresses = (all: readonly Address[]): unknown => listed(all.map(formatAddress));

/** The targets in force after an UPDATE, and the sources of a new stream. */
export const grantedEntry = (targets?: readonly Address[], sources?: readonly string[]): object => ({
  ...(targets && { inForce: addresses(targets) }),
  ...(sources && { sources: listed(sources) }),
});

/** An audit entry. It contains no secrets: identities and records contain neither tokens nor credentials of streams. */
export function entryOf(identity: Identity, action: Action): object {
  const { peer } = identity;
  const head = {
    time: new Date().toISOString(),
    who: ownerOf(identity),
    ...(identity.admin ? { admin: true } : {}),
    peer,
    action: action.kind,
  };
  if (action.kind === 'drain') return { ...head, gateway: shortened(action.gateway) };
  const { uid, spec, owner } = action.stream;
  const { connections, encryption } = spec;
  // A uid that no stream has.
  const role = owner === '' ? {} : { role: spec.role };
  const targets = 'targets' in action ? { targets: addresses(action.targets) } : {};
  const request = action.kind === 'request' ? { connections, encryption, proxy: action.stream.proxy } : {};
  return { ...head, uid, ...role, ...request, ...targets };
}
