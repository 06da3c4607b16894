import type Docker from 'dockerode';
import { formatAddress, LABELS, S2DSException, type ContainerSpec } from '@scistream/core';
import { failed, reasonOf } from './errors.js';
import { isFresh } from './state.js';

/**
 * Whether a container was created by an earlier `create` of the same spec whose answer was lost: same daemon and
 * purpose, and never started.
 */
export function isSameInstance(container: Docker.ContainerInspectInfo, { labels }: ContainerSpec): boolean {
  const theirs = container.Config.Labels;
  const same = [LABELS.managed, LABELS.serverId, LABELS.uid, LABELS.role, LABELS.specHash];
  return (
    isFresh(container) &&
    same.every((label) => theirs[label] === labels[label]) &&
    labels[LABELS.serverId] !== undefined
  );
}

/** Translates the error of a failed start. */
export function startError({ name, image, executable, listeners }: ContainerSpec, error: unknown): S2DSException {
  const reason = reasonOf(error);
  if (/port is already allocated|address already in use/.test(reason)) {
    return new S2DSException('SCI_PORT_TAKEN', `A port of ${listeners.map(formatAddress).join(', ')} is in use.`, {
      cause: error,
      suggestions: ['Find the process that listens on it: ss -tlnp'],
    });
  }
  if (/executable file not found|exec: .*(no such file|not found)/.test(reason)) {
    return new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The image ${image} has no program ${executable}.`, {
      cause: error,
      suggestions: ['Set the option image of the proxy to an image that has it.'],
    });
  }
  const elsewhere = /bind source path|no such file or directory|statfs/.test(reason);
  return failed(
    `Cannot start the container ${name}`,
    error,
    elsewhere ? ['Set the option files to volume if the engine has no access to the directories of this machine.'] : [],
  );
}
