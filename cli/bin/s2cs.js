#!/usr/bin/env node
import '../dist/host-environment.js';

// Before anything else is loaded, or it saves less.
await import('../dist/small-heap.js');
const { main } = await import('../dist/main.js');

await main(import.meta.url, ['s2cs', ...process.argv.slice(2)]);
