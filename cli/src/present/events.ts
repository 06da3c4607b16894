import type { FollowedStreamEvent, StreamHistoryEvent } from '@scistream/core/client';
import { table } from '../output.js';
import { momentText, titleOf } from './text.js';

/** The human-readable output of `stream events`. */
export function eventsText(events: readonly StreamHistoryEvent[]): string {
  const rows = events.map(({ at, side, what, by = '', detail = '' }) => [momentText(at), side, what, by, detail]);
  return table(['AT', 'SIDE', 'WHAT', 'BY', ''], rows);
}

/** One line of `stream events --follow`. */
export const eventLine = (event: StreamHistoryEvent): string => line(event);

/** One line of `stream events --follow --all`. */
export const followedLine = (event: FollowedStreamEvent): string => line(event, event.facility, titleOf(event));

const line = ({ at, side, what, by, detail }: StreamHistoryEvent, ...where: readonly string[]): string =>
  [momentText(at), ...where, side.padEnd(4), what.padEnd(9), by, detail].filter(Boolean).join('  ').trimEnd();
