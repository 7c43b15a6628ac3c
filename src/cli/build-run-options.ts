import { isIPv4, isIPv6 } from 'node:net';
import { ImagoError } from '../core/errors.ts';
import { nearest } from '../core/suggest.ts';
import type { BuildOptions } from '../engine/build-options.ts';
import { parseByteCount, splitFields } from '../formats/dockerfile/mount.ts';
import { parseResourceLimits, RESOURCES } from '../runtime/resources.ts';
import type { OptionSpec, OptionValues } from './command.ts';

const SHORT: Readonly<Record<string, string | undefined>> = { memory: 'm', 'cpu-shares': 'c' };

/** The flags of `build` that are about what a RUN is given. */
export const BUILD_RUN_OPTIONS: Record<string, OptionSpec> = {
  'add-host': { type: 'string', multiple: true, value: 'name:address', help: 'Add a line to /etc/hosts of RUN' },
  allow: {
    type: 'string',
    multiple: true,
    value: 'right',
    help: 'Allow RUN --security=insecure (security.insecure)',
    complete: ['network.host', 'security.insecure'],
  },
  'cgroup-parent': { type: 'string', value: 'path', help: 'Cgroup above those of RUN', complete: 'none' },
  resource: {
    type: 'string',
    multiple: true,
    value: 'key=value',
    help: `A limit of each RUN: ${RESOURCES.join(', ')}`,
    complete: RESOURCES.map((key) => `${key}=`),
  },
  // As docker buildx has them beside --resource.
  ...Object.fromEntries(
    RESOURCES.map((key) => [
      key,
      {
        type: 'string',
        short: SHORT[key],
        value: 'value',
        help: `--resource ${key}=…`,
        hidden: true,
        complete: 'none',
      },
    ]),
  ),
  secret: {
    type: 'string',
    multiple: true,
    value: 'id=NAME,src=file',
    help: 'A secret for RUN --mount=type=secret (id=NAME,src=FILE or id=NAME,env=VARIABLE)',
    complete: 'none',
  },
  'shm-size': { type: 'string', value: 'size', help: 'Size of /dev/shm in RUN (default 64m)', complete: 'none' },
  ssh: {
    type: 'string',
    multiple: true,
    value: 'default|ID=path',
    help: 'An SSH agent for RUN --mount=type=ssh: yours, a socket, or keys (ID=SOCKET or ID=KEY,KEY)',
    complete: 'none',
  },
  ulimit: { type: 'string', multiple: true, value: 'name=soft[:hard]', help: 'A limit of RUN', complete: 'none' },
};

type RunOptions = Required<Pick<BuildOptions, 'secrets' | 'ssh' | 'allow' | 'runSettings'>>;

/** Throws `BAD_FLAG_VALUE` with exit status 125. */
export function readBuildRunOptions(options: OptionValues): RunOptions {
  const list = (name: string): string[] => (options[name] ?? []) as string[];
  const shm = options['shm-size'] as string | undefined;
  return {
    secrets: Object.fromEntries(list('secret').map(parseSecret)),
    ssh: Object.fromEntries(list('ssh').map(parseSsh)),
    allow: list('allow').map(parseEntitlement),
    runSettings: {
      extraHosts: list('add-host').flatMap((text) => text.split(',').filter(Boolean).map(parseHost)),
      shmSize: shm === undefined ? undefined : parseShmSize(shm),
      ulimits: list('ulimit').map(parseUlimit),
      cgroupParent: options['cgroup-parent'] as string | undefined,
      ...readResources(options, list('resource')),
    },
  };
}

function readResources(options: OptionValues, entries: readonly string[]): RunOptions['runSettings'] {
  const own = RESOURCES.flatMap((key) => (options[key] === undefined ? [] : [`${key}=${options[key]}`]));
  const all = [...own, ...entries];
  return all.length === 0 ? {} : { resources: parseResourceLimits(all) };
}

type Secret = NonNullable<BuildOptions['secrets']>[string];

/** `id=NAME[,type=file|env][,src=PATH][,env=NAME]` as buildx has it: without a source, the variable NAME or the file NAME. */
function parseSecret(text: string): [id: string, source: Secret] {
  const fields = new Map<string, string>();
  const keys = ['id', 'type', 'src', 'source', 'env'];
  for (const field of fieldsOf('secret', text)) {
    const equals = field.indexOf('=');
    const key = equals < 0 ? field : field.slice(0, equals).toLowerCase();
    if (equals < 0) throw bad('secret', text, 'id=NAME,src=FILE', 'a field is no key=value pair');
    if (!keys.includes(key)) {
      const near = nearest(key, keys);
      throw bad('secret', text, keys.join(', '), `unexpected key '${key}'${near ? ` (did you mean ${near}?)` : ''}`);
    }
    fields.set(key === 'source' ? 'src' : key, field.slice(equals + 1));
  }
  const id = fields.get('id') ?? '';
  const type = fields.get('type');
  let [src, env] = [fields.get('src'), fields.get('env')];
  if (id === '') throw bad('secret', text, 'id=NAME,src=FILE', 'it has no id');
  if (type !== undefined && type !== 'file' && type !== 'env') throw bad('secret', text, 'type=file or type=env');
  if (type === 'env' && env === undefined) [src, env] = [undefined, src];
  if (env !== undefined) return [id, { env }];
  if (src !== undefined) return [id, { file: src }];
  return [id, type !== 'file' && process.env[id] !== undefined ? { env: id } : { file: id }];
}

/** `default`, `ID`, `ID=SOCKET` or `ID=KEY[,KEY]`. */
function parseSsh(text: string): [id: string, paths: string[]] {
  const equals = text.indexOf('=');
  const id = equals < 0 ? text : text.slice(0, equals);
  if (id === '') throw bad('ssh', text, 'default, ID=SOCKET or ID=KEY[,KEY]');
  const paths = equals < 0 ? [] : text.slice(equals + 1).split(',');
  return [id, paths.filter((path) => path !== '')];
}

function parseEntitlement(text: string): 'network.host' | 'security.insecure' {
  if (text === 'network.host' || text === 'security.insecure') return text;
  throw bad('allow', text, 'security.insecure or network.host');
}

function parseShmSize(text: string): number | undefined {
  const size = parseByteCount(text);
  // As docker: 0 is the default.
  if (size !== undefined && size >= 0) return size === 0 ? undefined : size;
  throw bad('shm-size', text, "a size, as '256m'");
}

/**
 * Docker's `NAME:ADDRESS` or `NAME=ADDRESS`, an IPv6 address in brackets or without. `host-gateway` is this machine: a
 * RUN is in its network, with no bridge between.
 */
function parseHost(text: string): string {
  const [, name, bracketed, bare] = /^([^:=\s]+)[:=](?:\[([^\]]*)\]|(.*))$/.exec(text) ?? [];
  const address = bare === 'host-gateway' ? '127.0.0.1' : (bracketed ?? bare ?? '');
  if (isIPv6(address) || (bracketed === undefined && isIPv4(address))) return `${name}:${address}`;
  throw bad('add-host', text, 'NAME:ADDRESS, as db.local:10.0.0.5');
}

const LIMITS: readonly string[] =
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');

function parseUlimit(text: string): { name: string; soft: number; hard: number } {
  const match = /^(\w+)=(-1|\d+)(?::(-1|\d+))?$/.exec(text);
  const [, name = '', soft, hard = soft] = match ?? [];
  if (match === null || !LIMITS.includes(name)) {
    throw bad('ulimit', text, `NAME=SOFT[:HARD], NAME one of ${LIMITS.join(', ')}`);
  }
  const limit = { name, soft: Number(soft), hard: Number(hard) };
  if (limit.hard >= 0 && (limit.soft > limit.hard || limit.soft < 0)) {
    throw bad('ulimit', text, 'a soft limit that is not above the hard one');
  }
  return limit;
}

function fieldsOf(option: string, text: string): string[] {
  try {
    return splitFields(text);
  } catch (error) {
    throw bad(option, text, 'fields with commas between them', (error as Error).message);
  }
}

function bad(option: string, got: string, want: string, problem?: string): ImagoError {
  const summary = `invalid value of --${option}${problem === undefined ? '' : `: ${problem}`}`;
  // What was meant to be a secret's place may be the secret.
  const shown = option === 'secret' ? {} : { got };
  return new ImagoError('BAD_FLAG_VALUE', summary, { want, ...shown, exitCode: 125 });
}
