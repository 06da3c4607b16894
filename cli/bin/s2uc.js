#!/usr/bin/env node
import '../dist/host-environment.js';
import { main } from '../dist/main.js';
import { s2ucArguments } from '../dist/commands/s2uc/arguments.js';

for (const args of s2ucArguments(process.argv.slice(2))) await main(import.meta.url, args);
