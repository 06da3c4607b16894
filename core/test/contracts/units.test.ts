import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatBytes, formatDuration, parseDuration, SciStreamError, type ErrorCode } from '@scistream/core';
import { formatCount, formatRate } from '@scistream/core/terminal';
import { parseRate } from '@scistream/core/internal';

const s = suite('units');

/** Asserts that each text is rejected with the code, and that the message starts with it. */
function rejects(parse: (text: string) => number, code: ErrorCode, texts: readonly string[]): void {
  for (const text of texts) {
    try {
      const value = parse(text);
      assert.unreachable(`${JSON.stringify(text)} was parsed as ${value}`);
    } catch (error) {
      if (!SciStreamError.is(error)) throw error;
      assert.is(error.code, code);
      assert.ok(error.message.startsWith(JSON.stringify(text).slice(0, 60)), error.message);
    }
  }
}

s('parses durations into whole milliseconds', () => {
  const cases = { '1ms': 1, '250ms': 250, '30s': 30_000, '1.5s': 1_500, '0.001s': 1, '2m': 120_000, '8h': 28_800_000 };
  for (const [text, ms] of Object.entries(cases)) assert.is(parseDuration(text), ms, text);
  assert.is(parseDuration('1.5h'), 5_400_000);
  assert.is(parseDuration('20d'), 1_728_000_000);
  assert.is(parseDuration('0.0015s'), 2, 'rounded');
});

s('rejects any other duration', () => {
  const wrong = [
    '',
    '0s',
    '0ms',
    '0.0001s',
    '30',
    's',
    '-1s',
    '+1s',
    '1 s',
    ' 1s',
    '1s ',
    '1s\n',
    '1e3s',
    '.5s',
    '1.s',
  ];
  rejects(parseDuration, 'SCI_DURATION_INVALID', [
    ...wrong,
    '1S',
    '1sec',
    '1h30m',
    '1w',
    '9999999999s',
    '1,5s',
    'NaNs',
  ]);
});

s('parses rates in bits with decimal prefixes into bit/s', () => {
  const cases = { 1: 1, 1000: 1000, '1bps': 1, '10kbps': 10_000, '500Mbps': 5e8, '20Gbps': 2e10, '1Tbps': 1e12 };
  for (const [text, rate] of Object.entries(cases)) assert.is(parseRate(text), rate, text);
  for (const [text, rate] of Object.entries({
    '20 Gbps': 2e10,
    '20G': 2e10,
    '1.5g': 1.5e9,
    '2mbit/s': 2e6,
    '1000T': 1e15,
  }))
    assert.is(parseRate(text), rate, text);
});

s('rejects any other rate', () => {
  const wrong = [
    '',
    '0',
    '0bps',
    '-1',
    '+1',
    '1.',
    '.1G',
    'G',
    'Gbps',
    '20GBps',
    '20Gb',
    '20Gib',
    '20 G bps',
    '20Gbps ',
  ];
  rejects(parseRate, 'SCI_RATE_INVALID', [
    ...wrong,
    '20  Gbps',
    '1001T',
    '9999999999999999',
    '1e9',
    '1,5G',
    '0.1',
    '1G\n',
  ]);
});

s('formats durations and counts', () => {
  const cases = [
    [0, '0 ms'],
    [999.6, '1 s'],
    [1000, '1 s'],
    [1500, '1.5 s'],
    [5000, '5 s'],
    [90_000, '90 s'],
    [5_400_000, '90 min'],
    [86_400_000, '24 h'],
    [259_200_000, '3 days'],
    [29_876.4, '29.9 s'],
  ] as const;
  for (const [ms, text] of cases) assert.is(formatDuration(ms), text);
  assert.equal(
    [0, 1, 2].map((count) => formatCount(count, 'stream')),
    ['0 streams', '1 stream', '2 streams'],
  );
});

s('formats rates and sizes', () => {
  const cases = [
    [0, '0 b/s', '0 B'],
    [999, '999 b/s', '999 B'],
    [1000, '1 kb/s', '1 kB'],
    [1234, '1.23 kb/s', '1.23 kB'],
    [20e9, '20 Gb/s', '20 GB'],
    [1.5e12, '1.5 Tb/s', '1.5 TB'],
    [2e15, '2000 Tb/s', '2000 TB'],
  ] as const;
  for (const [value, rate, size] of cases) assert.equal([formatRate(value), formatBytes(value)], [rate, size]);
});

s.run();
