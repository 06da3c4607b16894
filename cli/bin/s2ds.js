#!/usr/bin/env node
import '../dist/small-heap.js';
import { main } from '../dist/main.js';

await main(import.meta.url, ['s2ds', ...process.argv.slice(2)]);
