import type { InjectionToken } from 'tsyringe';
import type { Logger } from '../contracts/logger.js';

/** A token for an interface or a value. */
export type Token<T> = InjectionToken<T> & symbol;

/** Makes a token: a global symbol, so that two copies of this package agree. */
export const token = <T>(name: string): Token<T> => Symbol.for(`scistream.${name}`);

/** The logger of a daemon, control server or gateway. */
export const LOGGER = token<Logger>('Logger');
