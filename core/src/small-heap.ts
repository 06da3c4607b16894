/**
 * Importing this makes V8 collect rather than grow. By default it lets garbage pile up to several times of what is alive,
 * the more the more memory the machine has: see "Memory" in docs/guide/gateway.md for the figures. To be imported first of
 * all: what the program had as it loaded it keeps, which is 25 MB.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--optimize-for-size');
