import { matrix } from './support.js';

matrix('relay', 'process');
