// needs: stunnel, docker, root
// suite: full
import { matrix } from './support.js';

matrix('stunnel', 'janus');
