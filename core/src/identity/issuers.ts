import type { S2csConfig } from '../config/index.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** Their identities have these as issuer, on which limits and rules rely. */
const OF_THEIR_KIND: readonly string[] = ['none', 'token'];

interface Named {
  /** Path of the entry. */
  readonly key: string;
  readonly use: string;
  readonly issuer: string;
}

/**
 * Owners of streams, rules and limits know a caller as `issuer:subject`. No two ways to prove who one is may lead to the
 * same name for different callers.
 * @throws SCI_CONFIG_INVALID
 */
export function mustNameApart(auth: S2csConfig['auth']): void {
  const all = auth.map(named);
  for (const one of all) {
    if (OF_THEIR_KIND.includes(one.issuer) && one.use !== one.issuer) {
      throw wrong(one, `is the issuer of those that \`use: ${one.issuer}\` lets in`);
    }
    for (const other of all) {
      if (one.issuer === other.issuer && one.use !== other.use) throw wrong(one, `is the issuer of ${other.key}, too`);
      if (one.issuer.startsWith(`${other.issuer}:`)) {
        throw wrong(one, `begins with ${quote(`${other.issuer}:`)}, as the names of callers of ${other.key} do`);
      }
    }
  }
}

/** As people write it; whoever has no key `issuer` is one by its id. */
function named({ use, ...options }: S2csConfig['auth'][number], i: number): Named {
  const id = use.toLowerCase();
  const { issuer = id } = options;
  return { key: `auth.${i}`, use: id, issuer: String(issuer) };
}

const wrong = ({ key, issuer }: Named, why: string): SciStreamError =>
  new SciStreamError('SCI_CONFIG_INVALID', `${key}.issuer: ${quote(issuer)} ${why}.`, {
    suggestions: [`Choose another ${key}.issuer, or do without one of the two.`],
  });
