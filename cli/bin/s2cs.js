#!/usr/bin/env node
import { main } from '../dist/main.js';

await main(import.meta.url, ['s2cs', ...process.argv.slice(2)]);
