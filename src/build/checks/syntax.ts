import { findWord, type Word, wordAt } from '../../formats/dockerfile/position.ts';
import type { RawInstruction } from '../../formats/dockerfile/raw.ts';
import type { CheckReport } from './report.ts';

const RESERVED = new Set(['context', 'scratch']);

/** Rules that look at one instruction as it is written. */
export function checkSpelling(raw: RawInstruction, report: CheckReport): void {
  if (raw.name === 'MAINTAINER') {
    report.add(
      'MaintainerDeprecated',
      'Maintainer instruction is deprecated in favor of using label',
      raw,
      keywordOf(raw),
    );
  }
  if (raw.name !== 'FROM') return;
  const [, as, stage] = raw.args;
  if (raw.args.length === 3 && stage !== stage!.toLowerCase()) {
    report.add('StageNameCasing', `Stage name '${stage}' should be lowercase`, raw, stageWord(raw));
  }
  if (raw.args.length < 3 || !isPlainCase(raw.keyword)) return;
  const matching = raw.keyword === raw.keyword.toLowerCase() ? as!.toLowerCase() : as!.toUpperCase();
  if (as !== matching) {
    const place = findLastWord(raw, as!, raw.source.length - stage!.length);
    report.add('FromAsCasing', `'${as}' and '${raw.keyword}' keywords' casing do not match`, raw, place);
  }
}

/** The comment right above an ARG or a named FROM begins with its name. */
export function checkDescription(raw: RawInstruction, names: readonly string[], report: CheckReport): void {
  const last = raw.comments.at(-1);
  if (last === undefined || names.length === 0 || names.includes(last.split(' ', 1)[0]!)) return;
  const name = names.length > 1 ? '<arg_key>' : names[0];
  report.add(
    'InvalidDefinitionDescription',
    `Comment for ${raw.name} should follow the format: \`# ${name} <description>\``,
    raw,
    keywordOf(raw),
  );
}

/** Rules that look at the whole file as it is written. */
export function checkFile(froms: readonly RawInstruction[], all: readonly RawInstruction[], report: CheckReport): void {
  const names = new Set<string>();
  for (const from of froms) {
    if (from.args.length !== 3) continue;
    const name = from.args[2]!.toLowerCase();
    const quoted = JSON.stringify(name);
    if (RESERVED.has(name)) {
      const message = `Stage name should not use the same name as reserved stage ${quoted}`;
      report.add('ReservedStageName', message, from, stageWord(from));
    }
    if (names.has(name)) {
      const message = `Duplicate stage name ${quoted}, stage names should be unique`;
      report.add('DuplicateStageName', message, from, stageWord(from));
    }
    names.add(name);
  }
  checkCasing(all, report);
}

function checkCasing(all: readonly RawInstruction[], report: CheckReport): void {
  const plain = all.filter(({ keyword }) => isPlainCase(keyword));
  const lower = plain.filter(({ keyword }) => keyword === keyword.toLowerCase()).length;
  const casing = lower > plain.length - lower ? 'lowercase' : 'uppercase';
  for (const raw of all) {
    const right = casing === 'lowercase' ? raw.keyword.toLowerCase() : raw.keyword.toUpperCase();
    if (raw.keyword === right) continue;
    const message = `Command '${raw.keyword}' should match the case of the command majority (${casing})`;
    report.add('ConsistentInstructionCasing', message, raw, keywordOf(raw));
  }
}

function isPlainCase(word: string): boolean {
  return word === word.toLowerCase() || word === word.toUpperCase();
}

export function keywordOf(raw: RawInstruction): Word | undefined {
  return wordAt(raw, 0, raw.keyword.length);
}

function stageWord(raw: RawInstruction): Word | undefined {
  return findLastWord(raw, raw.args[2]!, raw.source.length);
}

function findLastWord(raw: RawInstruction, word: string, end: number): Word | undefined {
  const at = raw.source.lastIndexOf(word, end - word.length);
  return at < 0 ? findWord(raw, word) : wordAt(raw, at, word.length);
}
