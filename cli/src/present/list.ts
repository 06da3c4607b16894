import { formatRate } from '@scistream/core/terminal';
import type { SideStatus, StreamList, StreamStatus } from '@scistream/core/client';
import { fitted, table } from '../output.js';
import { ageText, errorText, listenersText, untilText } from './text.js';

const HEADINGS = ['NAME', 'UID', 'STATE', 'OWNER', 'GATEWAY', 'AGE', 'RATE'];
const WIDE_HEADINGS = [...HEADINGS, 'CONNECT TO', 'ENCRYPTION', 'UNTIL'];
/** Columns that may be shortened to fit a terminal. */
const FLEXIBLE = ['NAME', 'OWNER', 'GATEWAY'];
/** Characters of a uid on a terminal. Commands accept such a prefix. */
const SHORT_UID = 8;

/** How the list is printed. */
export interface ListForm {
  readonly wide: boolean;
  /** Columns of the terminal; undefined: values are not shortened. */
  readonly width: number | undefined;
}

/** The human-readable output of `stream ls`. */
export function listText({ streams, unreachable }: StreamList, { wide, width }: ListForm): string {
  const now = Date.now();
  const headings = wide ? WIDE_HEADINGS : HEADINGS;
  const uidOf = ({ uid }: StreamStatus): string => (wide || width === undefined ? uid : uid.slice(0, SHORT_UID));
  const rows = streams.map((stream) => rowOf({ ...stream, uid: uidOf(stream) }, now).slice(0, headings.length));
  const flexible = FLEXIBLE.map((heading) => headings.indexOf(heading));
  const shown = wide || width === undefined ? rows : fitted(headings, rows, flexible, width);
  return [rows.length > 0 ? table(headings, shown) : 'No streams.', ...unlistedLines(unreachable)].join('\n');
}

const rowOf = (stream: StreamStatus, now: number): readonly string[] => {
  const { uid, name, owner, state, from, to, connect, encryption, rate, createdAt, expiresAt } = stream;
  return [
    name || '-',
    uid,
    state,
    owner || '-',
    `${placeText(from)} → ${placeText(to)}`,
    ageText(createdAt, now),
    rate.bitsPerSecond > 0 ? formatRate(rate.bitsPerSecond) : '-',
    listenersText(connect) || '-',
    encryption,
    untilText(expiresAt),
  ];
};

/** `aps/dtn1`; only the facility if its control server does not report the gateway. */
const placeText = (side: SideStatus | undefined): string =>
  side ? [side.facility, side.gateway].filter((part) => part !== '').join('/') : '-';

/** What is missing from the list. */
export const unlistedLines = (unreachable: StreamList['unreachable']): readonly string[] =>
  unreachable.map(({ error }) => {
    const what = error.code === 'SCI_NOT_OFFERED' ? 'Not offered' : 'Not listed';
    return `${what}: ${errorText(error)}`;
  });

/** One line for each stream, for other commands: its name, or its uid if it has no name or shares it. */
export function nameLines({ streams }: StreamList): readonly string[] {
  const uses = new Map<string, number>();
  for (const { name } of streams) uses.set(name, (uses.get(name) ?? 0) + 1);
  return streams.map(({ uid, name }) => (name !== '' && uses.get(name) === 1 ? name : uid));
}
