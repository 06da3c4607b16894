import { processFixture } from '@scistream/core/testing';
import { runtimeTests } from './runtime-contract.js';

runtimeTests(processFixture, process.execPath);
