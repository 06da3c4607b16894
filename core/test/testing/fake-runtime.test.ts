/** The contract of a runtime, applied to the runtime in memory. Its shell implements the scripts of the contract. */
import type { InstanceFiles } from '@scistream/core';
import {
  FakeRuntime,
  RUNTIME_SCRIPTS,
  runtimeContract,
  type FakeMachine,
  type FakeProgram,
  type FakeSelf,
} from '@scistream/core/testing';
import { suite } from 'uvu';

const s = suite('runtime contract of the fake');

type Script = keyof typeof RUNTIME_SCRIPTS;

const says =
  (...lines: readonly string[]): FakeProgram =>
  (self) => {
    for (const line of [...lines, 'ready']) self.say(line);
  };

const SCRIPTS: Partial<Record<Script, FakeProgram>> = {
  waits: (self) => {
    self.on('SIGUSR1', () => {
      self.say('asked');
      self.exit(3);
    });
    self.on('SIGUSR2', () => self.say('told'));
    self.say('ready');
  },
  stubborn: (self) => {
    self.on('SIGUSR1', () => self.say('asked'));
    self.say('ready');
  },
  fails: (self) => {
    self.say('out');
    self.say('err');
    self.exit(7);
  },
  counts: says(...Array.from({ length: 50 }, (_, i) => `line ${i + 1}`)),
  reads: (self) => says(self.files()['a.cfg'] ?? '')(self),
  watches: says(),
  inherits: says(),
};

const scriptOf = (text: string | undefined): Script | undefined =>
  (Object.keys(RUNTIME_SCRIPTS) as Script[]).find((name) => RUNTIME_SCRIPTS[name] === text);

function command([, , text]: readonly string[], files: InstanceFiles): object | undefined {
  switch (scriptOf(text)) {
    case 'complains':
      return { exitCode: 5, stdout: files['a.cfg'], stderr: 'bad\n' };
    case 'lists':
      return { stdout: '-rw------- 1 a.cfg' };
    default:
      return undefined;
  }
}

const MACHINE: FakeMachine = {
  programs: {
    sh: (self: FakeSelf) => {
      const script = scriptOf(self.args[1]);
      const run = script && SCRIPTS[script];
      if (run) run(self);
      else self.exit(127);
    },
    server: (self: FakeSelf) => self.serve('x.sock', (socket) => void socket.end('hello')),
  },
  commands: { sh: command },
};

runtimeContract({
  name: 'fake',
  test: (name, run) => void s(name, run),
  fixture: {
    id: 'fake',
    open: () => {
      const runtime = new FakeRuntime(MACHINE);
      return Promise.resolve({
        runtime,
        another: () => runtime.another(),
        kill: (ref) => Promise.resolve(runtime.kill(ref)),
        listening: () => Promise.resolve([]),
        leftovers: async () => (await runtime.list({})).map(({ name }) => name),
        close: () => Promise.resolve(),
      });
    },
  },
  program: { image: 'none:1', executable: 'sh', server: { executable: 'server', args: [] } },
});

s.run();
