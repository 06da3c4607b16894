import type { S2csConfig } from '../config/index.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** Issuers that belong to the built-in authenticators of the same name. Limits and rules rely on them. */
const RESERVED: readonly string[] = ['none', 'token'];

interface Named {
  /** Path of the entry in the configuration. */
  readonly key: string;
  readonly use: string;
  readonly issuer: string;
}

/**
 * Checks that no two entries of `auth` can give different callers the same name `issuer:subject`, which owners, rules and
 * limits use.
 * @throws SCI_CONFIG_INVALID
 */
export function mustNameApart(auth: S2csConfig['auth']): void {
  const all = auth.map(named);
  for (const one of all) {
    if (RESERVED.includes(one.issuer) && one.use !== one.issuer) {
      throw wrong(one, `is reserved for \`use: ${one.issuer}\``);
    }
    for (const other of all) {
      if (one.issuer === other.issuer && one.use !== other.use) throw wrong(one, `is also the issuer of ${other.key}`);
      if (one.issuer.startsWith(`${other.issuer}:`)) {
        throw wrong(one, `begins with ${quote(`${other.issuer}:`)}, as the names of callers of ${other.key} do`);
      }
    }
  }
}

/** The issuer of an entry. Default: the id of the authenticator. */
function named({ use, ...options }: S2csConfig['auth'][number], i: number): Named {
  const id = use.toLowerCase();
  const { issuer = id } = options;
  return { key: `auth.${i}`, use: id, issuer: String(issuer) };
}

const wrong = ({ key, issuer }: Named, why: string): SciStreamError =>
  new SciStreamError('SCI_CONFIG_INVALID', `${key}.issuer: ${quote(issuer)} ${why}.`, {
    suggestions: [`Choose another ${key}.issuer, or remove one of the two entries.`],
  });
