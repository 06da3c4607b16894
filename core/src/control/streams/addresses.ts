/** The addresses that a caller sends: producers in HELLO, targets in UPDATE. */
import { parseAddress, type Address } from '../../contracts/address.js';
import { SciStreamError } from '../../contracts/errors.js';

const MAX_TARGETS = 4096;
/** Producers that any stream may have: the older client announces five for a stream with one listener. */
const FEW_PRODUCERS = 16;
/** All addresses of one call together, characters. A stream keeps them in memory until it is forgotten. */
const MAX_TEXT = 64_000;

/**
 * Parses the targets of an UPDATE.
 * @throws SCI_TARGETS_INVALID for none, too many or too long ones; SCI_ADDRESS_INVALID
 */
export function parseTargets(uid: string, texts: readonly string[]): readonly Address[] {
  if (texts.length > 0) return parse(texts, 'Target', MAX_TARGETS);
  throw new SciStreamError('SCI_TARGETS_INVALID', `The UPDATE of stream ${uid} has no targets.`, {
    suggestions: ['Give at least one host:port.'],
  });
}

/**
 * Parses the producers of a HELLO.
 * @param listeners Number of listeners of the stream.
 * @throws SCI_TARGETS_INVALID for too many or too long ones; SCI_ADDRESS_INVALID
 */
export function parseProducers(texts: readonly string[], listeners: number): readonly Address[] {
  return parse(texts, 'Announced listener', Math.max(FEW_PRODUCERS, listeners));
}

function parse(texts: readonly string[], field: string, most: number): readonly Address[] {
  if (texts.length > most) {
    throw new SciStreamError('SCI_TARGETS_INVALID', `${texts.length} addresses are more than the limit of ${most}.`, {
      suggestions: ['Send at most one address for each listener of the stream.'],
    });
  }
  const length = texts.reduce((sum, text) => sum + text.length, 0);
  if (length > MAX_TEXT) {
    throw new SciStreamError(
      'SCI_TARGETS_INVALID',
      `${length} characters of addresses are more than the limit of ${MAX_TEXT}.`,
      {
        suggestions: ['Use fewer addresses, or IP addresses instead of names.'],
      },
    );
  }
  return texts.map((text) => parseAddress(text, field));
}
