/** docs/dockerfile.md says which of BuildKit's cases these are, and where the others are tested. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RunConfig } from '../../src/oci/config.ts';
import { BuildLab, type BuildRun, whyNoRun } from '../build/lab.ts';
import type { BuildkitCase } from './cases.ts';
import { configCases } from './config-cases.ts';
import { copyCases } from './copy-cases.ts';
import { runCases } from './run-cases.ts';
import { runMountCases } from './run-mount-cases.ts';

/** What RUN lines of the cases call. */
const APPLETS = 'adduser awk cmp cp cut dd df grep head hostname mount sed stat tail tr ulimit uniq wc whoami';

async function tryCase(item: BuildkitCase, withBase: boolean): Promise<void> {
  using lab = new BuildLab();
  if (withBase)
    await lab.importBase(Object.fromEntries(APPLETS.split(' ').map((name) => [`bin/${name}`, '->busybox'])));
  lab.write(item.files ?? {});
  for (const [name, text] of Object.entries(item.bases ?? {})) await lab.build(text, { tags: [name] });
  if (item.error !== undefined) {
    await assert.rejects(lab.build(item.dockerfile, item.options), (error: Error) => {
      assert.match(`${error.message} ${error.cause instanceof Error ? error.cause.message : ''}`, item.error!);
      return true;
    });
    return;
  }
  check(lab, await lab.build(item.dockerfile, item.options), item);
}

function check(lab: BuildLab, run: BuildRun, item: BuildkitCase): void {
  for (const [path, text] of Object.entries(item.want ?? {})) assert.equal(lab.read(run.image, path), text, path);
  if (item.modes !== undefined) {
    const found = lab.list(run.image).map((line) => line.split(' '));
    for (const [path, want] of Object.entries(item.modes)) {
      const line = found.find((words) => words[3] === path);
      assert.equal(line === undefined ? undefined : `${line[2]} ${line[1]}`, want, path);
    }
  }
  const config: RunConfig = run.image.config.config ?? {};
  for (const [key, want] of Object.entries(item.config ?? {}))
    assert.deepEqual(config[key as keyof RunConfig], want, key);
}

function name({ test, about }: BuildkitCase): string {
  return about === undefined ? test : `${test}: ${about}`;
}

describe("BuildKit's cases", () => {
  for (const item of [...copyCases, ...configCases]) it(name(item), () => tryCase(item, false));
});

describe("BuildKit's cases of RUN", { skip: whyNoRun() }, () => {
  for (const item of [...runCases, ...runMountCases]) it(name(item), { timeout: 60_000 }, () => tryCase(item, true));
});
