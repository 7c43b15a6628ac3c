/** What BuildKit's integration tests check of the language, one case or more each: `test` is the name there. */
import type { BuildOptions } from '../../src/engine/build-options.ts';
import type { RunConfig } from '../../src/oci/config.ts';
import type { Files } from '../build/lab.ts';

export interface BuildkitCase {
  test: string;
  /** What it is about, where `test` has several. */
  about?: string;
  files?: Files;
  dockerfile: string;
  options?: BuildOptions;
  /** Built before, by name. */
  bases?: Record<string, string>;
  /** File → its text, or undefined where there must be none. */
  want?: Record<string, string | undefined>;
  /** `OWNER MODE` by path. */
  modes?: Record<string, string>;
  config?: Partial<RunConfig>;
  /** Part of the error's message. */
  error?: RegExp;
}
