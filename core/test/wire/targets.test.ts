/** Targets in the messages between a control server and a data server. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type Target } from '@scistream/core';
import { fromTargetsMessage, targetsMessage } from '@scistream/core/internal';
import { GatewayService } from '@scistream/core/wire';

const SetTargetsRequestSchema = GatewayService.method.setTargets.input;

const s = suite('messages of targets');

const TARGETS: readonly Target[] = [
  { host: '10.0.0.1', port: 5000, fallbacks: ['2001:db8::1', '10.0.0.2'] },
  { host: '10.0.0.3', port: 5001 },
];

s('further addresses reach a data server', () => {
  const sent = toBinary(SetTargetsRequestSchema, create(SetTargetsRequestSchema, targetsMessage(TARGETS)));
  assert.equal(fromTargetsMessage(fromBinary(SetTargetsRequestSchema, sent)), TARGETS);
});

s('a peer of an earlier version uses and sends the first address', () => {
  const { targets } = targetsMessage(TARGETS);
  assert.equal(targets, ['10.0.0.1:5000', '10.0.0.3:5001']);
  assert.equal(
    fromTargetsMessage({ targets, fallbacks: [] }),
    TARGETS.map(({ host, port }) => ({ host, port })),
  );
});

s('names, zones and too many addresses are rejected', () => {
  for (const bad of [['evil.example'], ['fe80::1%eth0'], [''], Array.from({ length: 8 }, (_, i) => `10.0.0.${i}`)]) {
    try {
      fromTargetsMessage(create(SetTargetsRequestSchema, { targets: ['10.0.0.1:1'], fallbacks: [{ hosts: bad }] }));
      assert.unreachable(bad.join());
    } catch (error) {
      assert.ok(SciStreamError.is(error), String(error));
      assert.is(error.code, 'SCI_TARGETS_INVALID');
    }
  }
});

s.run();
