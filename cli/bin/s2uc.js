#!/usr/bin/env node
import '../dist/host-environment.js';

const { main } = await import('../dist/main.js');
const { s2ucArguments } = await import('../dist/commands/s2uc/arguments.js');

for (const args of s2ucArguments(process.argv.slice(2))) await main(import.meta.url, args);
