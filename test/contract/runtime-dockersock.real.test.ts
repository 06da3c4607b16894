// needs: docker, root
import { dockersockFixture } from './engines.js';
import { runtimeTests } from './runtime-contract.js';

runtimeTests(dockersockFixture);
