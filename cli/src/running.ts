/** What the commands that run daemons share; imported when a daemon runs, not for its help. */
export { createLog } from './daemon-log.js';
export { runDaemon } from './daemon.js';
export { reloader } from './reload.js';
