// needs: haproxy, docker, root
// suite: full
import { matrix } from './support.js';

matrix('haproxy', 'docker');
