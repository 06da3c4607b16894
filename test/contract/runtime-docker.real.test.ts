// needs: docker, root
import { dockerFixture } from './engines.js';
import { runtimeTests } from './runtime-contract.js';

runtimeTests(dockerFixture);
