// needs: docker, root
import { janusFixture } from './engines.js';
import { runtimeTests } from './runtime-contract.js';

runtimeTests(janusFixture);
