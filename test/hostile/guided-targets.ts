import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { formatTicket, parseTicket } from '@scistream/core/client';
import { encodeClosing, encodeHeader, FrameError, FrameParser } from '@scistream/example-producer-consumer';
import type { Target } from './guided.js';
import { NOW, TICKET } from './sample-ticket.js';

/** Runs a parser. It may only succeed, or reject with a code that is not an internal error. */
function refuses(parse: () => void): void {
  try {
    parse();
  } catch (error) {
    if (!SciStreamError.is(error) || error.code === 'SCI_BUG') throw error;
  }
}

const [format = '', body = ''] = formatTicket(TICKET).split('.');

/** The parsers that read input of strangers. */
export const TARGETS: Readonly<Record<string, Target>> = {
  address: {
    seeds: ['127.0.0.1:80', '[::1]:5000', 'host.example:1', '[2001:db8::1%eth0]:65535'].map((text) =>
      Buffer.from(text),
    ),
    words: ['[', ']', ':', '::', '.', '%', '0', '65536', 'xn--', '/', '\0', '-', '::ffff:1.2.3.4'],
    code: /core\/dist\/contracts\/address\.js$/,
    take: (input) =>
      refuses(() => {
        const address = parseAddress(input.toString(), 'Address');
        assert.equal(parseAddress(formatAddress(address), 'Address'), address);
      }),
  },
  // The content of a ticket. Its checksum, which random input does not match, is added.
  ticket: {
    seeds: [inflateRawSync(Buffer.from(body, 'base64url'))],
    words: ['"', ':', ',', '{', '}', '[', ']', 'null', '-1', '1e999', '"__proto__":', '\\u0000', '"uid"', '"tls"'],
    code: /core\/dist\/(client\/.*ticket|contracts\/address|contracts\/units).*\.js$/,
    take: (input) =>
      refuses(() => {
        const packed = deflateRawSync(input).toString('base64url');
        const sum = createHash('sha256').update(packed).digest('hex').slice(0, 8);
        const read = parseTicket(`${format}.${packed}.${sum}`, NOW);
        assert.equal(parseTicket(formatTicket(read), NOW), read);
      }),
  },
  frames: {
    seeds: [
      encodeHeader({ last: true, connection: 1, sequence: 2, sentNs: 3n, payloadBytes: 0, payloadCrc: 0, seed: 4 }),
      Buffer.concat([
        encodeHeader({ last: true, connection: 1, sequence: 2, sentNs: 3n, payloadBytes: 16, payloadCrc: 0, seed: 4 }),
        encodeClosing({ firstSequence: 1, frames: 1, sha256: undefined }),
      ]),
    ],
    words: ['\0\0\0\0', '\xff\xff\xff\xff'],
    code: /producer-consumer\/dist\/.*\.js$/,
    take(input) {
      const parser = new FrameParser({ payload: () => undefined, frame: () => undefined, closing: () => undefined });
      try {
        parser.push(input);
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
      }
    },
  },
};
