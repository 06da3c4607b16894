// needs: nginx, docker, root
// suite: full
import { matrix } from './support.js';

matrix('nginx', 'docker');
