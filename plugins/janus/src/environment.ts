import { quote, type InstanceFiles } from '@scistream/core';
import { z } from 'zod';
import { failed } from './failures.js';
import { ENTRY, VARIABLES } from './scripts.js';

/** Linux takes no string of more than 128 KiB in an environment or among arguments (execve(2), MAX_ARG_STRLEN). */
export const PART = 96 * 1024;
/** All of them together must stay below a quarter of the stack, 2 MiB. */
const MAX_TOTAL = 1024 * 1024;

const NAME = /^[A-Za-z0-9][\w.-]*$/;
const INSTANCE = /^[\w-]+$/;
const Labels = z.record(z.string(), z.string());

/** Text as base64. */
export const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64');

/** Cuts base64 into parts that fit into an environment or an argument. */
export function parts(base64: string): readonly string[] {
  const count = Math.max(1, Math.ceil(base64.length / PART));
  return Array.from({ length: count }, (_, i) => base64.slice(i * PART, (i + 1) * PART));
}

/** @throws SCI_RUNTIME_FAILED for a name that is none of a file in the instance's directory */
export function checkName(name: string): string {
  if (NAME.test(name)) return name;
  throw failed(`${quote(name)} is no name for a file of an instance`, 'Use letters, digits, ".", "_" and "-".');
}

/** A name that stands in addresses of the controller, or an error. */
export function checkInstance(name: string): string {
  if (INSTANCE.test(name)) return name;
  throw failed(`${quote(name)} is no name for an instance`, 'Use letters, digits, "_" and "-".');
}

/**
 * The environment by which a container is told what it is: labels, files and the script that begins. The files, private
 * keys of streams among them, can be read there by whoever may read profiles, sessions or containers of the Janus account
 * and of its back-end, and by the administrators of the nodes; the programs inside do not inherit them. A key is worth
 * something only while its stream lives; the profile goes with it.
 * @throws SCI_RUNTIME_FAILED when it is too much for a process of Linux
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
    `The files of an instance are ${total} bytes, too many for Janus`,
    `At most ${MAX_TOTAL} bytes fit into an environment.`,
  );
}

/** The labels in an environment of {@link environmentOf}; none where it is of somebody else. */
export function labelsOf(environment: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const text = environment[VARIABLES.labels];
  if (text === undefined) return {};
  try {
    return Labels.parse(JSON.parse(Buffer.from(text, 'base64').toString('utf8')));
  } catch {
    return {};
  }
}
