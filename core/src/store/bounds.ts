/** The sizes of one event and of the events of one stream. */
import type { StreamEvent } from '../contracts/stream.js';

/** Events that are kept for one stream. The oldest are removed first. */
const MAX_EVENTS = 200;
/** Bytes of the events of one stream, as JSON. The oldest are removed first. */
const MAX_EVENTS_BYTES = 64_000;
/** Longest detail of an event, characters. */
const MAX_DETAIL = 2_000;

/** The event with a detail of limited length. */
export function bounded<E extends StreamEvent>(event: E): E {
  const { detail } = event;
  if (detail === undefined || detail.length <= MAX_DETAIL) return event;
  // A copy, because V8 keeps the whole text for a part of it.
  const start = Buffer.from(detail.slice(0, MAX_DETAIL)).toString();
  return { ...event, detail: `${start}… (${detail.length} characters)` };
}

/** Size as JSON, bytes; approximate for other characters than ASCII. */
export const sizeOf = (value: object): number => JSON.stringify(value).length;

/** How many of the oldest events do not fit. @param events Oldest first. */
export function surplus(events: readonly StreamEvent[]): number {
  let bytes = 0;
  let first = events.length;
  while (first > 0 && events.length - first < MAX_EVENTS) {
    bytes += sizeOf(events[first - 1] ?? {});
    if (bytes > MAX_EVENTS_BYTES) break;
    first -= 1;
  }
  return first;
}
