import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { openS3Storage } from '../../src/registry/storage/s3.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';
import { s3SkipReason, startS3 } from '../registry/rgw.ts';
import { RegistryLab } from '../registry/server/lab.ts';

/**
 * Binaries of the official suite (repository opencontainers/distribution-spec, folder `conformance`), separated by ':':
 * `go build` of the present one, `go test -c` of those up to v1.1.1.
 */
const suites: string[] = (process.env.IMAGO_TEST_CONFORMANCE ?? '').split(':').filter((path) => path !== '');
const skip: string | false =
  suites.length === 0 && "IMAGO_TEST_CONFORMANCE does not name a binary of the distribution-spec's conformance suite";

/** Every feature, those that are off by default too. Each suite reads its own half. */
function settings(port: number, directory: string, automaticMounts: boolean): Record<string, string> {
  return {
    OCI_VERSION: 'dev',
    OCI_REGISTRY: `127.0.0.1:${port}`,
    OCI_TLS: 'disabled',
    OCI_REPO1: 'conformance/repo1',
    OCI_REPO2: 'conformance/repo2',
    OCI_DATA_SPARSE: 'true',
    OCI_API_BLOBS_MOUNT_ANONYMOUS: String(automaticMounts),
    OCI_RESULTS_DIR: directory,
    OCI_ROOT_URL: `http://127.0.0.1:${port}`,
    OCI_NAMESPACE: 'conformance/repo1',
    OCI_CROSSMOUNT_NAMESPACE: 'conformance/repo2',
    OCI_AUTOMATIC_CROSSMOUNT: automaticMounts ? '1' : '0',
    OCI_TEST_PULL: '1',
    OCI_TEST_PUSH: '1',
    OCI_TEST_CONTENT_DISCOVERY: '1',
    OCI_TEST_CONTENT_MANAGEMENT: '1',
    OCI_REPORT_DIR: directory,
  };
}

function run(suite: string, env: Record<string, string>): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(suite, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const note = (chunk: Buffer): void => {
      output = (output + chunk.toString('latin1')).slice(-100_000);
    };
    child.stdout.on('data', note);
    child.stderr.on('data', note);
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}

async function check(suite: string, automaticMounts: boolean, storage?: RegistryStorage): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'imago-conformance-'));
  try {
    await using lab = await RegistryLab.start({
      sparse: 'everything',
      automaticMounts,
      ...(storage === undefined ? {} : { storage }),
    });
    const { status, output } = await run(suite, settings(lab.port, directory, automaticMounts));
    assert.equal(status, 0, output);
    // The older suites have no such lines; their skipped cases are the other setting's.
    const count = (name: string): string | undefined => new RegExp(`^ +${name}\\.+: +(\\d+)$`, 'm').exec(output)?.[1];
    for (const name of ['Skip', 'FAIL', 'Error']) assert.ok([undefined, '0'].includes(count(name)), output);
    assert.match(output, /OCI Conformance Result: Pass|SUCCESS!/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

describe("the distribution-spec's conformance suite", { skip, timeout: 600_000 }, () => {
  for (const suite of suites) {
    for (const automaticMounts of [true, false]) {
      it(`${basename(suite)}, files, automatic mounts ${automaticMounts ? 'on' : 'off'}`, () =>
        check(suite, automaticMounts));
    }
    it(`${basename(suite)}, S3`, { skip: s3SkipReason() }, async () => {
      await using s3 = await startS3();
      const storage = await openS3Storage(s3.url());
      try {
        await check(suite, true, storage);
      } finally {
        await storage.close();
      }
    });
  }
});
