/**
 * Importing this makes V8 collect rather than grow. By default it lets garbage pile up to several times of what is alive,
 * the more the more memory the machine has; "Memory" in docs/guide/gateway.md has the figures. A set-up takes about a sixth
 * more CPU time for it. To be imported first, and the rest of the program later: new objects keep the room that they were
 * given while it was loaded, 25 MB otherwise.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--optimize-for-size');
// New objects are made in 1 MB at a time, and not in up to 16.
setFlagsFromString('--semi-space-growth-factor=1');
