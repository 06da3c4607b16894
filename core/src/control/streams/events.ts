import type { StreamEvent } from '../../contracts/stream.js';

/** A thing that happens now. */
export const happened = (what: StreamEvent['what'], by?: string, detail?: string): StreamEvent => ({
  at: new Date().toISOString(),
  what,
  ...(by ? { by } : {}),
  ...(detail ? { detail } : {}),
});
