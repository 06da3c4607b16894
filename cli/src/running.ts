/** Shared modules of the daemon commands, imported only when a daemon runs, not for its help. */
export { createLog } from './daemon-log.js';
export { runDaemon } from './daemon.js';
export { reloader } from './reload.js';
