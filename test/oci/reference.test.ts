import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ImagoError } from '../../src/core/errors.ts';
import { familiarName, familiarReference, formatReference, parseReference } from '../../src/oci/reference.ts';
import { compileReferencePattern } from '../../src/oci/reference-pattern.ts';

const HEX = 'abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789';
const SHA = `sha256:${HEX}`;

/** As distribution/reference v0.6.0 has them in normalize_test.go and reference_test.go. */
const GOOD: [text: string, full: string, familiar: string][] = [
  ['alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['alpine:3.20', 'docker.io/library/alpine:3.20', 'alpine:3.20'],
  ['library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['docker.io/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['docker.io/library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['index.docker.io/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['index.docker.io/library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['index.docker.io/dmcgowan/myapp', 'docker.io/dmcgowan/myapp:latest', 'dmcgowan/myapp:latest'],
  ['fooo/bar', 'docker.io/fooo/bar:latest', 'fooo/bar:latest'],
  ['library/foo/bar', 'docker.io/library/foo/bar:latest', 'library/foo/bar:latest'],
  ['foo/foo/bar', 'docker.io/foo/foo/bar:latest', 'foo/foo/bar:latest'],
  ['localhost/bar', 'localhost/bar:latest', 'localhost/bar:latest'],
  ['localhost', 'docker.io/library/localhost:latest', 'localhost:latest'],
  ['localhost:5000', 'docker.io/library/localhost:5000', 'localhost:5000'],
  ['localhost:5000/bar', 'localhost:5000/bar:latest', 'localhost:5000/bar:latest'],
  ['localhost:5000/bar:tag', 'localhost:5000/bar:tag', 'localhost:5000/bar:tag'],
  ['localhost/library/bar', 'localhost/library/bar:latest', 'localhost/library/bar:latest'],
  ['test.com/library/bar', 'test.com/library/bar:latest', 'test.com/library/bar:latest'],
  ['ghcr.io/org/app:v1', 'ghcr.io/org/app:v1', 'ghcr.io/org/app:v1'],
  ['Registry/repo', 'Registry/repo:latest', 'Registry/repo:latest'],
  ['EXAMPLE.COM/foo', 'EXAMPLE.COM/foo:latest', 'EXAMPLE.COM/foo:latest'],
  ['192.168.1.1/foo', '192.168.1.1/foo:latest', '192.168.1.1/foo:latest'],
  ['192.168.1.1:8080/foo:t', '192.168.1.1:8080/foo:t', '192.168.1.1:8080/foo:t'],
  ['[2001:db8::1]/repo', '[2001:db8::1]/repo:latest', '[2001:db8::1]/repo:latest'],
  ['[2001:db8::1]:5000/repo:tag', '[2001:db8::1]:5000/repo:tag', '[2001:db8::1]:5000/repo:tag'],
  ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com'],
  ['a-b.c-d.com/x', 'a-b.c-d.com/x:latest', 'a-b.c-d.com/x:latest'],
  ['foo_bar.com:8080', 'docker.io/library/foo_bar.com:8080', 'foo_bar.com:8080'],
  ['foo/foo_bar.com:8080', 'docker.io/foo/foo_bar.com:8080', 'foo/foo_bar.com:8080'],
  ['foo__bar', 'docker.io/library/foo__bar:latest', 'foo__bar:latest'],
  ['foo---bar', 'docker.io/library/foo---bar:latest', 'foo---bar:latest'],
  ['foo.bar_baz-qux', 'docker.io/library/foo.bar_baz-qux:latest', 'foo.bar_baz-qux:latest'],
  ['a:Tag.With_ALL-of-it', 'docker.io/library/a:Tag.With_ALL-of-it', 'a:Tag.With_ALL-of-it'],
  ['a:_t', 'docker.io/library/a:_t', 'a:_t'],
  [`a:${'t'.repeat(128)}`, `docker.io/library/a:${'t'.repeat(128)}`, `a:${'t'.repeat(128)}`],
  [`x@${SHA}`, `docker.io/library/x@${SHA}`, `x@${SHA}`],
  [`x:tag@${SHA}`, `docker.io/library/x:tag@${SHA}`, `x:tag@${SHA}`],
  [`r.io:443/x/y:tag@${SHA}`, `r.io:443/x/y:tag@${SHA}`, `r.io:443/x/y:tag@${SHA}`],
  [`x@sha512:${HEX}${HEX}`, `docker.io/library/x@sha512:${HEX}${HEX}`, `x@sha512:${HEX}${HEX}`],
  [`${HEX}:tag`, `docker.io/library/${HEX}:tag`, `${HEX}:tag`],
  [HEX.slice(1), `docker.io/library/${HEX.slice(1)}:latest`, `${HEX.slice(1)}:latest`],
  ['0', 'docker.io/library/0:latest', '0:latest'],
  [`a/${'b/'.repeat(120)}c`, `docker.io/a/${'b/'.repeat(120)}c:latest`, `a/${'b/'.repeat(120)}c:latest`],
];

const BAD: [text: string, message: RegExp | string, code?: string][] = [
  ['', 'invalid reference format: got ""'],
  [HEX, `invalid repository name (${HEX}), cannot specify 64-byte hexadecimal strings`],
  ['Uppercase', 'invalid reference format: repository name (library/Uppercase) must be lowercase'],
  ['Uppercase:tag', 'invalid reference format: repository name (library/Uppercase) must be lowercase'],
  [
    'test:5000/Uppercase/lowercase:tag',
    'invalid reference format: repository name (Uppercase/lowercase) must be lowercase',
  ],
  ['lowercase/Uppercase', 'invalid reference format: repository name (lowercase/Uppercase) must be lowercase'],
  ['docker.io/Foo', 'invalid reference format: repository name (library/Foo) must be lowercase'],
  [':tag', /^invalid reference format/],
  ['a:', /^invalid reference format/],
  ['a:b:c', /^invalid reference format/],
  ['a@', /^invalid reference format/],
  ['a@sha256:abc', /^invalid reference format/],
  [`@${SHA}`, /^invalid reference format/],
  [`a@sha256:${'a'.repeat(34)}`, /^invalid digest/, 'BAD_DIGEST'],
  [`a@sha256:${HEX.toUpperCase()}`, /^invalid digest/, 'BAD_DIGEST'],
  [`a@md5:${'a'.repeat(32)}`, /^invalid digest/, 'BAD_DIGEST'],
  [`a:${'t'.repeat(129)}`, /^invalid reference format/],
  ['a:-tag', /^invalid reference format/],
  ['a:.tag', /^invalid reference format/],
  ['-foo', /^invalid reference format/],
  ['foo-', /^invalid reference format/],
  ['_foo/bar', /^invalid reference format/],
  ['foo..bar', /^invalid reference format/],
  ['foo___bar', /^invalid reference format/],
  ['foo._bar', /^invalid reference format/],
  ['foo//bar', /^invalid reference format/],
  ['foo/', /^invalid reference format/],
  ['/foo', /^invalid reference format/],
  ['https://github.com/docker/docker', /^invalid reference format/],
  ['docker.io', /./, 'none'],
  ['-test.com/foo', /^invalid reference format/],
  ['test-.com/foo', /^invalid reference format/],
  ['[fe80::1%eth0]/foo', /^invalid reference format/],
  ['[2001:db8::1]:x/foo', /^invalid reference format/],
  ['a b', /^invalid reference format/],
  ['a\n', /^invalid reference format/],
  ['alpine:latest\n', /^invalid reference format/],
  ['ünicode', /^invalid reference format/],
  ['docker///docker', /^invalid reference format/],
  ['<none>', /^invalid reference format/],
  [`<none>@${SHA}`, /^invalid reference format/],
  [`a/${'b'.repeat(254)}`, 'invalid reference format: repository name must not be more than 255 characters'],
  ['x'.repeat(100_000), /^invalid reference format: too long/],
  [`${'a-'.repeat(1000)}!`, /^invalid reference format/],
];

describe('parseReference', () => {
  for (const [text, full, familiar] of GOOD) {
    it(text.slice(0, 60), () => {
      const reference = parseReference(text);
      assert.equal(formatReference(reference), full);
      assert.equal(familiarReference(reference), familiar);
      assert.deepEqual(parseReference(full), reference);
      assert.deepEqual(parseReference(familiar), reference);
    });
  }
});

describe('parseReference refuses', () => {
  for (const [text, message, code = 'BAD_REFERENCE'] of BAD) {
    // A name that only looks like a host is a name.
    if (code === 'none') {
      it(`${text}: not`, () => assert.equal(formatReference(parseReference(text)), `docker.io/library/${text}:latest`));
      continue;
    }
    it(JSON.stringify(text.slice(0, 60)), () => {
      assert.throws(
        () => parseReference(text),
        (error) => {
          assert.ok(error instanceof ImagoError);
          assert.equal(error.code, code);
          if (typeof message === 'string') assert.ok(error.message.startsWith(message), error.message);
          else assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});

it('defaultTag: false leaves a name alone', () => {
  assert.deepEqual(parseReference('alpine', { defaultTag: false }), { domain: 'docker.io', path: 'library/alpine' });
});

it('familiarName', () => {
  assert.equal(familiarName(parseReference('docker.io/library/a:b')), 'a');
  assert.equal(familiarName(parseReference('localhost:1/a:b')), 'localhost:1/a');
});

const PATTERNS: [pattern: string, text: string, matches: boolean][] = [
  ['debian', 'debian:bookworm', true],
  ['debian:bookworm', 'debian:bookworm', true],
  ['debian:trixie', 'debian:bookworm', false],
  ['deb*', 'debian:bookworm', true],
  ['deb*:book*', 'debian:bookworm', true],
  ['*', 'debian:bookworm', true],
  ['*', 'a/b:c', false],
  ['*/*', 'a/b:c', true],
  ['a/?:c', 'a/b:c', true],
  ['a/[a-c]', 'a/b:c', true],
  ['a/[^b]', 'a/b:c', false],
  ['docker.io/library/debian', 'debian:bookworm', true],
  ['docker.io/library/debian:bookworm', 'debian:bookworm', true],
  ['ghcr.io/*/app', 'ghcr.io/x/app:1', true],
  ['app', 'ghcr.io/x/app:1', false],
  ['a.b', 'axb', false],
  ['a\\*', 'ab', false],
];

describe('compileReferencePattern', () => {
  for (const [pattern, text, matches] of PATTERNS) {
    it(`${pattern} ${matches ? 'is' : 'is not'} ${text}`, () =>
      assert.equal(compileReferencePattern(pattern)(parseReference(text)), matches));
  }
  for (const pattern of ['[', '[]', 'a\\', '[z-a]']) {
    it(`refuses ${pattern}`, () => assert.throws(() => compileReferencePattern(pattern), { code: 'BAD_PATTERN' }));
  }
});
