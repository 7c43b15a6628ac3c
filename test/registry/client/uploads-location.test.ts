import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import type { Place } from '../../../src/registry/client/place.ts';
import { locationOf } from '../../../src/registry/client/upload-session.ts';

const PLACE = { transport: { registry: 'r.example' }, name: 'r.example/a', path: 'a' } as Place;
const HTTPS = 'https://r.example/v2/a/blobs/uploads/';

const CASES: [location: string | undefined, url: string, full: string | undefined][] = [
  [undefined, HTTPS, undefined],
  ['', HTTPS, undefined],
  ['/v2/a/blobs/uploads/1?_state=a%3D%3D&b=+', HTTPS, 'https://r.example/v2/a/blobs/uploads/1?_state=a%3D%3D&b=+'],
  ['/elsewhere/1#x', HTTPS, 'https://r.example/elsewhere/1'],
  ['https://up.example/1?sig=x', HTTPS, 'https://up.example/1?sig=x'],
  ['http://r.example/1', 'http://r.example/v2/', 'http://r.example/1'],
  // The registry sits behind a proxy that ends TLS.
  ['http://r.example/1', HTTPS, 'https://r.example/1'],
  ['http://r.example:5000/1', 'https://r.example:444/v2/', 'https://r.example:444/1'],
  ['http://up.example/1', HTTPS, 'http://up.example/1'],
];

test('where an upload is', () => {
  for (const [location, url, full] of CASES) {
    const response = { status: 202, headers: { location }, url, body: Readable.from([]) };
    assert.equal(locationOf(PLACE, response), full);
  }
  const bad = { status: 202, headers: { location: 'http://[bad' }, url: HTTPS, body: Readable.from([]) };
  assert.throws(() => locationOf(PLACE, bad), { code: 'BAD_RESPONSE' });
});
