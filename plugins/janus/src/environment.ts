import { quote, type InstanceFiles } from '@scistream/core';
import { z } from 'zod';
import { failed } from './failures.js';
import { ENTRY, VARIABLES } from './scripts.js';

/**
 * Size of a chunk, bytes. Linux limits a string in an environment or argument list to 128 KiB (execve(2),
 * MAX_ARG_STRLEN).
 */
export const PART = 96 * 1024;
/** Limit of the whole environment, bytes. It must stay below a quarter of the stack, 2 MiB. */
const MAX_TOTAL = 1024 * 1024;

const NAME = /^[A-Za-z0-9][\w.-]*$/;
const INSTANCE = /^[\w-]+$/;
const Labels = z.record(z.string(), z.string());

/** Encodes text as base64. */
export const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64');

/** Splits base64 into parts that fit into an environment variable or an argument. */
export function parts(base64: string): readonly string[] {
  const count = Math.max(1, Math.ceil(base64.length / PART));
  return Array.from({ length: count }, (_, i) => base64.slice(i * PART, (i + 1) * PART));
}

/** @throws SCI_RUNTIME_FAILED for a string that is not a file name in the instance's directory */
export function checkName(name: string): string {
  if (NAME.test(name)) return name;
  throw failed(`${quote(name)} is not a valid name for an instance file`, 'Use letters, digits, ".", "_" and "-".');
}

/** Validates the name of an instance, which is part of controller URLs. @throws SCI_RUNTIME_FAILED */
export function checkInstance(name: string): string {
  if (INSTANCE.test(name)) return name;
  throw failed(`${quote(name)} is not a valid instance name`, 'Use letters, digits, "_" and "-".');
}

/**
 * The environment of a container: labels, files and the entry script. The files include private keys of streams.
 * Accounts that may read profiles, sessions or containers in Janus or its back end can read them, and so can node
 * administrators. The programs in the container do not inherit them. A key is useful only while its stream exists, and
 * the profile is removed with it.
 * @throws SCI_RUNTIME_FAILED if the environment exceeds the limit of a Linux process
 */
export function environmentOf(labels: Readonly<Record<string, string>>, files: InstanceFiles): readonly string[] {
  const encoded = Object.entries(files).map(([name, content]) => ({ name, parts: parts(encode(content)) }));
  const lines = [
    `${VARIABLES.entry}=${encode(ENTRY)}`,
    `${VARIABLES.labels}=${encode(JSON.stringify(labels))}`,
    `${VARIABLES.files}=${encoded.map((file) => `${checkName(file.name)}:${file.parts.length}`).join(' ')}`,
    ...encoded.flatMap((file) => file.parts).map((text, i) => `${VARIABLES.part}${i}=${text}`),
  ];
  const total = lines.reduce((sum, { length }) => sum + length, 0);
  if (total <= MAX_TOTAL) return lines;
  throw failed(
    `The files of an instance have ${total} bytes, too many for Janus`,
    `Reduce them to at most ${MAX_TOTAL} bytes, the size of an environment.`,
  );
}

/** The labels in an environment from {@link environmentOf}; empty for any other environment. */
export function labelsOf(environment: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const text = environment[VARIABLES.labels];
  if (text === undefined) return {};
  try {
    return Labels.parse(JSON.parse(Buffer.from(text, 'base64').toString('utf8')));
  } catch {
    return {};
  }
}
