import assert from 'node:assert/strict';

const PAUSE_MS = 10;
/** Longer than anything here takes on a machine that is busy: what is waited for comes, or the test is right to fail. */
export const PATIENCE_MS = 30_000;

/** Waits until something is so; fails after `PATIENCE_MS`. */
export async function until(what: string, so: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await so())) {
    if (Date.now() > end) assert.fail(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
