import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileGlob, hasWildcard } from '../../src/formats/dockerfile/glob.ts';
import { IgnoreMatcher, type MatchState, parseIgnoreFile } from '../../src/formats/dockerfile/ignore.ts';
import { cleanSlashes, joinWorkdir } from '../../src/formats/dockerfile/path.ts';

/** Matches as a walk does: from the top down, with the state of the directory above. */
function ignored(patterns: string[], path: string): boolean {
  const matcher = new IgnoreMatcher(patterns);
  const parts = path.split('/');
  let state: MatchState | undefined;
  let result = false;
  for (let i = 1; i <= parts.length; i++) {
    const match = matcher.match(parts.slice(0, i).join('/'), state);
    result = match.ignored;
    state = match.state;
  }
  return result;
}

describe('IgnoreMatcher', () => {
  const cases: [patterns: string[], path: string, want: boolean][] = [
    [['a'], 'a', true],
    [['a'], 'b', false],
    [['a'], 'a/b/c', true],
    [['a'], 'b/a', false],
    [['a/b'], 'a', false],
    [['a/b'], 'a/b', true],
    [['a/b/'], 'a/b/c', true],
    [['./a'], 'a', true],
    [['*.log'], 'x.log', true],
    [['*.log'], 'd/x.log', false],
    [['*/x.log'], 'd/x.log', true],
    [['*/x.log'], 'd/e/x.log', false],
    [['**/x.log'], 'x.log', true],
    [['**/x.log'], 'd/e/x.log', true],
    [['**/*.log'], 'd/e/x.log', true],
    [['**/node_modules'], 'a/b/node_modules/c', true],
    [['a/**'], 'a', false],
    [['a/**'], 'a/b', true],
    [['a/**/b'], 'a/b', true],
    [['a/**/b'], 'a/x/y/b', true],
    [['a/**/b'], 'a/x/c', false],
    [['**'], 'a/b', true],
    [['*'], 'a/b', true],
    [['?'], 'ab', false],
    [['?'], 'é', true],
    [['a?c'], 'abc', true],
    [['a?c'], 'a/c', false],
    [['[ab]x'], 'bx', true],
    [['[^ab]x'], 'bx', false],
    [['[a-c]x'], 'cx', true],
    [['a\\*b'], 'a*b', true],
    [['a\\*b'], 'axb', false],
    [['a.b'], 'axb', false],
    [['a+(b)'], 'a+(b)', true],
    [['*', '!a'], 'a', false],
    [['*', '!a'], 'a/b', false],
    [['*', '!a'], 'b', true],
    [['*', '!a', 'a/secret'], 'a/secret', true],
    [['!a', 'a'], 'a', true],
    [['a', '!a/b', 'a/b/c'], 'a/b/c', true],
    [['a', '!a/b'], 'a/b/d', false],
    [['a', '!a/b'], 'a/c', true],
    [['**/*.md', '!README.md'], 'README.md', false],
    [['**/*.md', '!README.md'], 'docs/README.md', true],
    [['docs/*.md', '!docs/keep*.md'], 'docs/keepme.md', false],
  ];
  for (const [patterns, path, want] of cases) {
    it(`${patterns.join(' ')}: ${path}`, () => assert.equal(ignored(patterns, path), want));
  }

  it('knows where something may be taken back', () => {
    const matcher = new IgnoreMatcher(['*', '!src/deep/x', '!lib/*.ts', '!**/keep']);
    assert.equal(matcher.mayReinclude('src'), true);
    assert.equal(matcher.mayReinclude('lib'), true);
    // '**' may be anywhere.
    assert.equal(matcher.mayReinclude('other'), true);
    const plain = new IgnoreMatcher(['*', '!src/deep/x']);
    assert.equal(plain.mayReinclude('src/deep'), true);
    assert.equal(plain.mayReinclude('other'), false);
  });

  for (const pattern of ['!', '[', 'a\\', '[]a]', '[z-', '[-]']) {
    it(`refuses ${pattern}`, () => assert.throws(() => new IgnoreMatcher([pattern]), { code: 'BAD_PATTERN' }));
  }
});

describe('parseIgnoreFile', () => {
  it('cleans what it reads', () => {
    const text = '\ufeff# comment\n\n  a/b/  \n/rooted\n! /c/../d\n # not a comment\n./e\r\n/\n';
    assert.deepEqual(parseIgnoreFile(text), ['a/b', 'rooted', '!d', '# not a comment', 'e', '/']);
  });
});

describe('compileGlob', () => {
  const cases: [pattern: string, name: string, want: boolean][] = [
    ['*.txt', 'a.txt', true],
    ['*.txt', 'a/b.txt', false],
    ['a[!b]c', 'a!c', true],
    ['a[]', 'a', false],
    ['[\\]]', ']', true],
    ['[c-a]', 'b', false],
    ['[^/]', '/', false],
    ['😀*', '😀x', true],
  ];
  for (const [pattern, name, want] of cases) {
    it(`${pattern}: ${name}`, () => {
      let matched = false;
      try {
        matched = compileGlob(pattern).test(name);
      } catch {
        // A class that does not end matches nothing.
      }
      assert.equal(matched, want);
    });
  }

  it('tells a wildcard from an escaped one', () => {
    assert.deepEqual(['a', 'a*', 'a\\*', 'a?b', '[x]'].map(hasWildcard), [false, true, false, true, true]);
  });
});

describe('paths', () => {
  it('cleans as Go does', () => {
    const cases = { '': '.', 'a//b/../c/.': 'a/c', '/../x': '/x', '../x/..': '..', '/': '/', './': '.' };
    for (const [path, want] of Object.entries(cases)) assert.equal(cleanSlashes(path), want, path);
  });

  it('joins with the working directory, and keeps what makes a directory', () => {
    const cases: [string, string, string][] = [
      ['/w', 'a', '/w/a'],
      ['/w', 'a/', '/w/a/'],
      ['/w', '.', '/w/'],
      ['/w', './', '/w/'],
      ['/w', '/a/.', '/a/'],
      ['/w', '../a', '/a'],
      ['/', '.', '/'],
      ['/w', '/', '/'],
    ];
    for (const [base, path, want] of cases) assert.equal(joinWorkdir(base, path), want, `${base} ${path}`);
  });
});
