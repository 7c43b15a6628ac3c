import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { randomHex } from '../../src/system/random.ts';

const run = promisify(execFile);
const PROGRAMS = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'monmaptool', 'setpriv'];
const KEYS = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'testing', AWS_REGION: 'us-east-1' };

/** An S3 to test against, with a bucket of its own. Its keys are in this process's environment. */
export interface TestS3 extends AsyncDisposable {
  endpoint: string;
  bucket: string;
  /** `s3://…` of a new prefix. */
  url(): string;
}

/** Why there is none: neither `IMAGO_TEST_S3=URL` (keys in AWS_*) nor Ceph's programs. */
export function s3SkipReason(): string | false {
  if (process.env.IMAGO_TEST_S3 !== undefined) return false;
  const missing = PROGRAMS.filter((name) => !inPath(name));
  if (missing.length === 0) return false;
  return `no S3: set IMAGO_TEST_S3 to an endpoint, or install Ceph (${missing.join(', ')} not found)`;
}

export async function startS3(): Promise<TestS3> {
  const given = process.env.IMAGO_TEST_S3;
  const ceph = given === undefined ? await startCeph() : undefined;
  const endpoint = given ?? ceph!.endpoint;
  const bucket = `imago-test-${randomHex(6)}`;
  const client = new S3Client({ endpoint, region: process.env.AWS_REGION ?? 'us-east-1', forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  return {
    endpoint,
    bucket,
    url: () => `s3://${bucket}/${randomHex(4)}?endpoint=${encodeURIComponent(endpoint)}`,
    [Symbol.asyncDispose]: async () => ceph?.stop(),
  };
}

/** One monitor, one store in memory, one gateway; they die with this process. About a second. */
async function startCeph(): Promise<{ endpoint: string; stop(): Promise<void> }> {
  Object.assign(process.env, KEYS);
  const directory = mkdtempSync(join(tmpdir(), 'imago-rgw-'));
  const [port, first, second] = await freePorts(3);
  const id = (await run('cat', ['/proc/sys/kernel/random/uuid'])).stdout.trim();
  for (const name of ['mon', 'osd', 'rgw']) mkdirSync(join(directory, name));
  writeFileSync(
    join(directory, 'ceph.conf'),
    settings(directory, id, port!, `[v2:127.0.0.1:${first},v1:127.0.0.1:${second}]`),
  );
  const options = { cwd: directory, env: { ...process.env, CEPH_CONF: join(directory, 'ceph.conf') } };
  const children: ChildProcess[] = [];
  const serve = (...command: string[]): void => {
    const args = ['--pdeathsig', 'KILL', '--', ...command, '-f'];
    children.push(spawn('setpriv', args, { ...options, stdio: 'ignore' }));
  };
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const address = `[v2:127.0.0.1:${first},v1:127.0.0.1:${second}]`;
    await run('monmaptool', ['--create', '--fsid', id, '--addv', 'm', address, 'monmap'], options);
    await run('ceph-mon', ['--mkfs', '-i', 'm', '--monmap', 'monmap'], options);
    serve('ceph-mon', '-i', 'm');
    await run('ceph', ['--connect-timeout', '20', 'osd', 'new', id], options);
    await run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', id], options);
    serve('ceph-osd', '-i', '0');
    const user = ['user', 'create', '--uid', 'test', '--display-name', 'test'];
    await run('radosgw-admin', [...user, '--access-key', 'test', '--secret-key', 'testing'], options);
    serve('radosgw', '-n', 'client.rgw');
    const endpoint = `http://127.0.0.1:${port}`;
    await answering(endpoint);
    return { endpoint, stop };
  } catch (error) {
    const log = join(directory, 'client.rgw.log');
    const tail = existsSync(log) ? readFileSync(log, 'utf8').slice(-2000) : '';
    await stop();
    throw new Error(`Ceph does not start: ${String(error)}\n${tail}`, { cause: error });
  }
}

function settings(directory: string, id: string, port: number, monitors: string): string {
  return `[global]
fsid = ${id}
mon_host = ${monitors}
public_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
run_dir = ${directory}
log_file = ${directory}/$name.log
pid_file = ${directory}/$name.pid
admin_socket =
osd_pool_default_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 17179869184
osd_data = ${directory}/osd
mon_data = ${directory}/mon
mon_allow_pool_size_one = true
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
rgw_data = ${directory}/rgw
rgw_frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
`;
}

async function answering(endpoint: string): Promise<void> {
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1 });
  for (let round = 0; ; round++) {
    try {
      await client.send(new CreateBucketCommand({ Bucket: 'imago-first' }));
      return client.destroy();
    } catch (error) {
      if (round === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

function inPath(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => existsSync(join(directory, name)));
}
