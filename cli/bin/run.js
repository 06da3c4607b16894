#!/usr/bin/env node
import '../dist/host-environment.js';

// Before anything else is loaded, or it saves less.
if (['s2cs', 's2ds'].includes(process.argv[2])) await import('../dist/small-heap.js');
const { main } = await import('../dist/main.js');

await main(import.meta.url, [...process.argv.slice(2)]);
