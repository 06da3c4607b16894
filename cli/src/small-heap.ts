/**
 * Makes V8 collect garbage instead of growing the heap. Only daemons import this, before anything else: by default garbage
 * piles up to several times the live heap, more on machines with more memory ("Memory" in docs/guide/gateway.md has the
 * figures). A stream set-up costs about a sixth more CPU time. Imported later it saves less: the space for new objects
 * keeps the size that it reached while the program loaded, about 25 MB.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--optimize-for-size');
// The space for new objects grows by 1 MB at a time instead of up to 16 MB.
setFlagsFromString('--semi-space-growth-factor=1');
