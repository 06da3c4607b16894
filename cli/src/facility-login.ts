import { quote, SciStreamError } from '@scistream/core';
import type { S2ucConfig } from '@scistream/core/config';
import { untilText } from './present/text.js';
import { loginOf, resolveEndpoint, type ServerLogin, type Whoami } from '@scistream/core/client';

/**
 * The login settings of a configured facility.
 * @param name Default: the only facility that has the key `auth`.
 * @throws SCI_FACILITY_UNKNOWN, SCI_USAGE
 */
export function facilityLogin({ facilities }: S2ucConfig, name: string | undefined): ServerLogin {
  const possible = Object.entries(facilities).filter(([, { auth }]) => auth);
  const names = possible.map(([known]) => known);
  const chosen = name ?? (names.length === 1 ? names[0] : undefined);
  if (chosen === undefined) {
    const none = names.length === 0;
    const which = none
      ? 'No facility in the configuration has the key auth.'
      : `Name one of the facilities: ${names.join(', ')}.`;
    throw new SciStreamError('SCI_USAGE', which, {
      suggestions: none ? [AUTH_KEY] : names.map((known) => `scistream login ${known}`),
    });
  }
  const facility = Object.hasOwn(facilities, chosen) ? facilities[chosen] : undefined;
  const login = facility && loginOf(resolveEndpoint(chosen, facilities));
  if (login) return login;
  throw facility
    ? new SciStreamError('SCI_USAGE', `Facility ${chosen} has no key auth in the configuration.`, {
        suggestions: [AUTH_KEY],
      })
    : new SciStreamError('SCI_FACILITY_UNKNOWN', `The configuration has no facility ${quote(chosen)}.`, {
        suggestions: names.length > 0 ? [`Use ${names.join(' or ')}.`] : [AUTH_KEY],
      });
}

const AUTH_KEY = 'Set facilities.<name>.auth: { use: oidc, issuer: https://…, client: … } in the configuration.';

/** The identity of the user at a facility, in one line. */
export function whoamiText({ facility, subject, issuer, admin, groups, expiresAt }: Whoami): string {
  const parts = [
    `${facility}: ${issuer}:${subject}`,
    ...(admin ? ['admin'] : []),
    ...(groups.length > 0 ? [`groups ${groups.join(', ')}`] : []),
    ...(expiresAt === '' ? [] : [`until ${untilText(expiresAt)}`]),
  ];
  return parts.join(', ');
}
