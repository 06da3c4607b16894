import type Docker from 'dockerode';
import { formatAddress, LABELS, S2DSException, type ContainerSpec } from '@scistream/core';
import { failed, reasonOf } from './errors.js';
import { isFresh } from './state.js';

/**
 * Whether a container is the one that an earlier `create` of the same spec made, whose answer was lost: same daemon, same
 * purpose, never started.
 */
export function isSameInstance(container: Docker.ContainerInspectInfo, { labels }: ContainerSpec): boolean {
  const theirs = container.Config.Labels;
  const same = [LABELS.managed, LABELS.serverId, LABELS.uid, LABELS.role, LABELS.specHash];
  return (
    isFresh(container) && same.every((label) => theirs[label] === labels[label]) && labels[LABELS.serverId] !== undefined
  );
}

/** Why a container could not be started. */
export function startError({ name, image, executable, listeners }: ContainerSpec, error: unknown): S2DSException {
  const reason = reasonOf(error);
  if (/port is already allocated|address already in use/.test(reason)) {
    return new S2DSException('SCI_PORT_TAKEN', `A port of ${listeners.map(formatAddress).join(', ')} is taken.`, {
      cause: error,
      suggestions: ['ss -tlnp shows who listens there.'],
    });
  }
  if (/executable file not found|exec: .*(no such file|not found)/.test(reason)) {
    return new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The image ${image} has no program ${executable}.`, {
      cause: error,
      suggestions: ['Name an image that has it in the option image of the proxy.'],
    });
  }
  const elsewhere = /bind source path|no such file or directory|statfs/.test(reason);
  return failed(
    `Cannot start the container ${name}`,
    error,
    elsewhere ? ['If the engine does not see the directories of this machine: set the option files to volume.'] : [],
  );
}
