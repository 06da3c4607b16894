// needs: docker, root
import { matrix } from './support.js';

matrix('relay', 'docker');
