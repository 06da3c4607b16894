#!/usr/bin/env node
import '../dist/host-environment.js';
import '../dist/small-heap.js';
import { main } from '../dist/main.js';

await main(import.meta.url, ['s2ds', ...process.argv.slice(2)]);
