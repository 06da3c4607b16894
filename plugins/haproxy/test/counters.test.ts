import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { countersOf } from '@scistream/plugin-haproxy/internal';

/** Replies of HAProxy 2.6.12, reduced to the relevant columns and lines. */
const stat = (bytesIn: number, bytesOut: number): string =>
  [
    '# pxname,svname,scur,stot,bin,bout,econ,eresp,cli_abrt,srv_abrt,connect,wretr,',
    `f0,FRONTEND,2,7,${bytesIn},${bytesOut},,,,,`,
    'f1,FRONTEND,0,1,5,6,,,,,',
    'b0,s0,2,7,0,0,1,2,4,2,9,2,',
    'b0,BACKEND,2,7,0,0,1,2,4,2,9,2,',
    'b1,BACKEND,0,1,5,6,0,0,0,0,1,0,',
  ].join('\n');

const session = (
  frontend: string,
  req: number,
  res: number,
): string => `0x55fa: [22/Nov/2026:17:06:35.048443] id=18 proto=tcpv4
  frontend=${frontend} (id=2 mode=tcp), listener=? (id=1) addr=127.0.0.1:46733
  req=0x7fd5 (f=0x848202 an=0x0 pipe=0 tofwd=-1 total=${req})
      an_exp=<NEVER> buf=0x7fd5 data=(nil) o=0 p=0 i=0 size=0
  res=0x7fd6 (f=0x80008000 an=0x0 pipe=0 tofwd=-1 total=${res})
`;

const s = suite('counters');

s('adds the bytes of open connections to those of finished ones', () => {
  const sessions = [session('GLOBAL', 999, 999), session('f0', 10, 1), session('f0', 20, 2)].join('');
  const counted = countersOf(stat(100, 200), sessions, 2).map(({ statistics }) => statistics);
  assert.equal(counted, [
    {
      ...{ connections: 7, open: 2, bytesIn: 130, bytesOut: 203, errors: 7, refused: 0 },
      failures: { unreachable: 1, unreachableNow: 0, resetByConsumer: 4, resetByProducer: 2 },
    },
    {
      ...{ connections: 1, open: 0, bytesIn: 5, bytesOut: 6, errors: 0, refused: 0 },
      failures: { unreachable: 0, unreachableNow: 0, resetByConsumer: 0, resetByProducer: 0 },
    },
  ]);
});

s('never decreases when a connection ends between the two replies', () => {
  const before = countersOf(stat(100, 200), session('f0', 10, 1), 1);
  assert.is(countersOf(stat(100, 200), '', 1, before)[0]?.statistics.bytesIn, 110);
  assert.is(countersOf(stat(115, 200), '', 1, before)[0]?.statistics.bytesIn, 115);
});

s('counts connections that did not reach the target, until one reaches it or the target changes', () => {
  const after = (connect: number, wretr: number, econ: number, failed: number): string =>
    [
      '# pxname,svname,stot,econ,connect,wretr,ssl_failed_handshake',
      `f0,FRONTEND,0,,,,${failed}`,
      `b0,BACKEND,0,${econ},${connect},${wretr},0`,
    ].join('\n');
  const failures = (reading: ReturnType<typeof countersOf>) => reading[0]?.statistics.failures;
  const lost = countersOf(after(62, 60, 2, 3), '', 1);
  assert.equal(failures(lost), {
    ...{ unreachable: 2, unreachableNow: 2, handshakeFailed: 3, resetByConsumer: 0, resetByProducer: 0 },
  });
  const more = countersOf(after(93, 90, 3, 3), '', 1, lost);
  assert.is(failures(more)?.unreachableNow, 3);
  const works = countersOf(after(94, 90, 3, 3), '', 1, more);
  assert.is(failures(works)?.unreachableNow, 0);
  const again = countersOf(after(125, 120, 4, 3), '', 1, works);
  assert.is(failures(again)?.unreachableNow, 1);
  assert.is(failures(countersOf(after(125, 120, 4, 3), '', 1, again, true))?.unreachableNow, 0);
});

s.run();
