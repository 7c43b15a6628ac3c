import type { LineRange } from '../../formats/dockerfile/errors.ts';
import type { Word } from '../../formats/dockerfile/position.ts';
import { type CheckConfig, withComments } from './config.ts';
import { RULES, type RuleName } from './rules.ts';

/** What a rule found. */
export interface CheckWarning extends LineRange {
  rule: RuleName;
  description: string;
  url?: string;
  message: string;
  /** What in the lines it is about, where that is known. */
  word?: Word;
}

/** Collects what the rules find that count: in the file, and at one instruction. */
export class CheckReport {
  readonly warnings: CheckWarning[];
  readonly #config: CheckConfig;

  constructor(config: CheckConfig, warnings: CheckWarning[] = []) {
    this.#config = config;
    this.warnings = warnings;
  }

  /** Of an instruction: with what the comments right above it say. */
  at({ comments }: { comments: readonly string[] }): CheckReport {
    const config = withComments(this.#config, comments);
    return config === this.#config ? this : new CheckReport(config, this.warnings);
  }

  add(rule: RuleName, message: string, { line, endLine }: LineRange, word?: Word): void {
    const { description, url, experimental } = RULES[rule];
    const { skipAll, skip, experimentalAll, experimental: wanted } = this.#config;
    if (experimental ? !experimentalAll && !wanted.has(rule) : skipAll || skip.has(rule)) return;
    this.warnings.push({ rule, description, ...(url && { url }), message, line, endLine, ...(word && { word }) });
  }
}
