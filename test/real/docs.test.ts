import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';

const test: string = join(import.meta.dirname, '..');
const text: string = readFileSync(join(test, '..', 'docs', 'dockerfile.md'), 'utf8');
/** BuildKit's name, what it says, the tests. */
const rows: [string, string, string][] = [...text.matchAll(/^\| (test\w+) \| ([^|]+) \| ([^|]*) ?\|$/gm)].map(
  ([, name, verdict, proof]) => [name!, verdict!, proof!],
);

it("the table's tests exist, and what is the same has one", () => {
  for (const [name, verdict, proof] of rows) {
    const files = [...proof.matchAll(/`([^`]+)`/g)].map(([, path]) => path!);
    for (const path of files) assert.ok(existsSync(join(test, `${path}.test.ts`)), `${name}: ${path}`);
    if (verdict.startsWith('same')) assert.ok(files.length > 0, name);
    else assert.match(verdict, /^(?:differs: |does not apply: |not tested)/, name);
  }
});

it('the table has every case once, counts them, and knows those that are written here', () => {
  const names = rows.map(([name]) => name);
  assert.equal(new Set(names).size, names.length);
  const count = (word: string): number => rows.filter(([, verdict]) => verdict.startsWith(word)).length;
  const said: string = `${names.length} cases: ${count('same')} same, ${count('differs')} differ, ${count('does not')} do not apply, ${count('not tested')}`;
  assert.ok(text.includes(said), said);
  for (const file of readdirSync(import.meta.dirname).filter((name) => /^buildkit-|cases\.ts$/.test(name))) {
    const source = readFileSync(join(import.meta.dirname, file), 'utf8');
    for (const [name] of source.matchAll(/\btest[A-Z]\w+/g)) assert.ok(names.includes(name), `${file}: ${name}`);
  }
});
