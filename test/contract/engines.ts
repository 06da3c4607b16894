/** Runtimes of the matrix that need a container engine. All cases of a file share one engine. */
import { readdir } from 'node:fs/promises';
import Docker from 'dockerode';
import { silentLogger, type ContainerRef } from '@scistream/core';
import { listeningOf, type OpenRuntime, type RuntimeFixture } from '@scistream/core/testing';
import {
  DockerOptions,
  DockerRuntime,
  DockersockOptions,
  findEndpoint,
  socketEndpoint,
} from '@scistream/plugin-dockersock';
import { JanusSite } from '../janus/support.js';
import { engines, testEngine, type EngineInUse } from '../support/engine.js';

/** The image of containers. */
export const IMAGE = process.env.SCISTREAM_TEST_IMAGE ?? engines.IMAGE;

let engine: Promise<EngineInUse> | undefined;

/** The engine of this file, started on first use. */
const engineOfFile = (): Promise<EngineInUse> => (engine ??= testEngine());

/** Call this when all tests of a file are done. */
export async function closeEngine(): Promise<void> {
  await (await engine)?.[Symbol.asyncDispose]();
}

const pathOf = (host: string): string => host.slice('unix://'.length);

/** Containers on a local engine. @param make Makes the runtime for instances below a directory. */
function ofEngine(id: string, make: (host: string, directory: string) => DockerRuntime): RuntimeFixture {
  const open = async (directory: string): Promise<OpenRuntime> => {
    const { host } = await engineOfFile();
    const docker = new Docker({ socketPath: pathOf(host) });
    const runtime = make(host, directory);
    const containers = (): Promise<Docker.ContainerInfo[]> => docker.listContainers({ all: true });
    return {
      runtime,
      another: () => make(host, directory),
      kill: async ({ name }) => void (await docker.getContainer(name).kill()),
      listening: (refs) => listeningOf(runtime, refs),
      leftovers: async () => {
        const files = await readdir(directory, { recursive: true }).catch(() => []);
        const names = (await containers()).flatMap(({ Names }) => Names);
        return [...names.map((name) => `container ${name}`), ...files.map((file) => `file ${file}`)];
      },
      close: async () => {
        for (const { Id } of await containers()) await docker.getContainer(Id).remove({ force: true, v: true });
      },
    };
  };
  return { id, open };
}

/** The engine that the configuration names as in DOCKER_HOST. */
export const dockerFixture = ofEngine('docker', (host, dataDir) => {
  const options = DockerOptions.parse({ host });
  return new DockerRuntime({ id: 'docker', find: () => findEndpoint(options), log: silentLogger, dataDir }, options);
});

/** The engine whose socket the configuration names. */
export const dockersockFixture = ofEngine('dockersock', (host, dataDir) => {
  const options = DockersockOptions.parse({ socket: pathOf(host) });
  const find = (): ReturnType<typeof socketEndpoint> => socketEndpoint(options.socket);
  return new DockerRuntime({ id: 'dockersock', find, log: silentLogger, dataDir }, options);
});

/** Sessions of an emulated Janus controller whose nodes are one engine. */
export const janusFixture: RuntimeFixture = {
  id: 'janus',
  open: async () => {
    const site = await JanusSite.open(await engineOfFile());
    const { backend, controller } = site.emulator;
    const containerOf = ({ name }: ContainerRef): string => {
      const sessions = [...controller.sessions.values()];
      const services = sessions.flatMap((session) => Object.values(session.services).flat());
      const id = services.find(({ profile }) => profile === name)?.container_id;
      if (!id) throw new Error(`Janus has no container of ${name}`);
      return id;
    };
    const runtime = site.runtime();
    return {
      runtime,
      another: () => site.runtime(),
      kill: (ref) => backend.killProgram(containerOf(ref)),
      listening: (refs) =>
        listeningOf(
          { inspect: async (ref) => ({ ...(await runtime.inspect(ref)), pid: await backend.pidOf(containerOf(ref)) }) },
          refs,
        ),
      leftovers: async () => [
        ...[...controller.sessions.keys()].map((id) => `session ${id}`),
        ...[...controller.profiles.keys()].filter((name) => name !== 'default').map((name) => `profile ${name}`),
        ...(await backend.containers()).map((id) => `container ${id}`),
      ],
      close: async () => {
        for (const id of await backend.containers()) await backend.remove(id);
        await site[Symbol.asyncDispose]();
      },
    };
  },
};
