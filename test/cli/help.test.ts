import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatCommandHelp, formatTopHelp } from '../../src/cli/help.ts';
import { registry } from '../../src/cli/registry.ts';

/** A terminal as it always was. `run` and `create` have as many flags as Docker's and get a second screen. */
const SCREEN = { lines: 24, columns: 80 };
/** Screens; one for all others. */
const LONG: Record<string, number> = { run: 2, create: 2, build: 3 };

function checkFits(text: string, lines: number): void {
  assert.ok(text.split('\n').length - 1 <= lines, `${text.split('\n').length - 1} lines:\n${text}`);
  for (const line of text.split('\n')) assert.ok(line.length <= SCREEN.columns, `${line.length} columns: ${line}`);
}

test('the help of the program fits a screen and names every command or the group that it is in', () => {
  const text = formatTopHelp();
  checkFits(text, SCREEN.lines);
  for (const [name, entry] of Object.entries(registry)) {
    if (entry.group !== 'hidden') assert.match(text, new RegExp(`\\b${name.split(' ')[0]}\\b`));
    else assert.ok(!text.includes(name));
  }
});

describe('each command', () => {
  const seen = new Map<string, string>();
  for (const [name, entry] of Object.entries(registry)) {
    test(name, async () => {
      const { command } = await entry.load();
      assert.equal(command.name, name);
      assert.equal(command.summary, entry.summary);
      assert.ok(!command.summary.endsWith('.'), 'a summary has no full stop');
      for (const spelled of [name, ...(entry.aliases ?? [])]) {
        assert.equal(seen.get(spelled), undefined, `${spelled} is taken`);
        seen.set(spelled, name);
      }
      checkFits(formatCommandHelp(command, entry.aliases), (LONG[name] ?? 1) * SCREEN.lines);
    });

    test(`${name}: flags`, async () => {
      const { command } = await entry.load();
      const shorts = new Set<string>();
      for (const [flag, spec] of Object.entries(command.options)) {
        assert.match(flag, /^[a-z][a-z0-9-]+$/);
        assert.ok(spec.help.length > 0 && !spec.help.endsWith('.'), `--${flag}: ${spec.help}`);
        if (spec.short === undefined) continue;
        assert.match(spec.short, /^[A-Za-z]$/);
        assert.ok(!shorts.has(spec.short), `-${spec.short} twice`);
        shorts.add(spec.short);
      }
      const { min, max } = command.args;
      assert.ok(max === undefined || min <= max);
      assert.equal(
        /\[OPTIONS\]/.test(command.usage),
        Object.values(command.options).some((spec) => !spec.hidden),
      );
    });
  }
});
