// needs: docker, root
// suite: full
import { matrix } from './support.js';

matrix('relay', 'janus');
