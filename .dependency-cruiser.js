/**
 * The rooms of core/src and what each may import; `npm run lint` checks it, docs/architecture.md explains it. Type-only imports
 * count: a type that two rooms share belongs in contracts/. test/rooms.test.ts proves that a forbidden import is found.
 */
const ROOMS = {
  contracts: [],
  proxy: ['contracts'],
  relay: ['contracts', 'proxy'],
  runtime: ['contracts'],
  wire: ['contracts'],
  config: ['contracts'],
  pki: ['contracts'],
  store: ['contracts'],
  plugins: ['contracts', 'config'],
  serving: ['contracts', 'pki', 'wire'],
  identity: ['contracts', 'config', 'pki'],
  policy: ['contracts', 'config'],
  observe: ['contracts', 'serving'],
  client: ['contracts', 'config', 'pki', 'wire'],
  gateway: ['contracts', 'pki', 'plugins', 'proxy', 'relay', 'runtime', 'serving', 'store', 'wire'],
  'control/parts': ['contracts', 'config', 'plugins', 'policy', 'serving'],
  'control/gateways': ['contracts', 'wire'],
  'control/streams': ['contracts', 'control/gateways', 'control/parts', 'policy'],
  'control/door': ['contracts', 'control/gateways', 'control/parts', 'control/streams', 'plugins', 'serving', 'wire'],
  control: [
    ...[
      'contracts',
      'config',
      'gateway',
      'identity',
      'observe',
      'pki',
      'plugins',
      'policy',
      'relay',
      'runtime',
      'serving',
      'store',
    ],
    ...['wire', 'control/door', 'control/gateways', 'control/parts', 'control/streams'],
  ],
  testing: ['contracts', 'gateway', 'pki', 'plugins', 'proxy', 'runtime'],
};

/** The files of a room: without the rooms inside it. */
const inside = (room) => `^core/src/${room}/${room === 'control' ? '[^/]+$' : ''}`;

const borders = Object.entries(ROOMS).map(([room, allowed]) => ({
  name: `room-${room.replace('/', '-')}`,
  comment: `${room}/ imports only ${allowed.join(', ') || 'node: modules'}.`,
  severity: 'error',
  from: { path: inside(room) },
  to: { path: '^core/src/', pathNot: [room, ...allowed].map(inside) },
}));

export default {
  forbidden: [
    ...borders,
    {
      name: 'no-cycle',
      comment: 'Files that import each other, also through types or other files, are one file or need a third one.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'contracts-alone',
      comment: 'contracts/ imports node: modules only, so that a plugin brings nothing else with it.',
      severity: 'error',
      from: { path: '^core/src/contracts/' },
      to: { dependencyTypesNot: ['core', 'local'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules|/dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'types'],
    },
  },
};
