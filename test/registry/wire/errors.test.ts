import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeErrors, parseErrors } from '../../../src/registry/wire/errors.ts';

describe('errors on the wire', () => {
  it('come back as they were', () => {
    const list = [
      { code: 'BLOB_UNKNOWN', message: 'é', detail: { a: 1 } },
      { code: 'X', message: '' },
    ];
    assert.deepEqual(parseErrors(encodeErrors(list)), list);
  });

  const cases: [what: string, body: string, count: number][] = [
    ['HTML', '<html><body>502 Bad Gateway</body></html>', 0],
    ['nothing', '', 0],
    ['null', 'null', 0],
    ['another object', '{"message":"x"}', 0],
    ['errors that is no list', '{"errors":"x"}', 0],
    ['entries that are none', '{"errors":[null,1,"x",{},{"code":1}]}', 0],
    ['a message without a code', '{"errors":[{"message":"m"}]}', 1],
    ['too many', JSON.stringify({ errors: Array(100).fill({ code: 'X' }) }), 32],
  ];
  for (const [what, body, count] of cases) {
    it(what, () => assert.equal(parseErrors(Buffer.from(body)).length, count));
  }

  it('are not UTF-8, and long', () => {
    assert.deepEqual(parseErrors(Buffer.from([0xff, 0xfe, 0x7b])), []);
    const [error] = parseErrors(Buffer.from(JSON.stringify({ errors: [{ code: 'X', message: 'm'.repeat(9999) }] })));
    assert.equal(error!.message.length, 1000);
  });
});
