// needs: nginx, docker, root
import { matrix } from './support.js';

matrix('nginx', 'dockersock');
