import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findProgram } from '../../src/runtime/find-runtime.ts';
import { Lab, skipContainers } from '../container/lab.ts';

const skip = skipContainers() ?? (findProgram('script') === undefined ? "needs util-linux's script" : undefined);

describe('a build at a terminal', { skip }, () => {
  let lab: Lab;
  let context: string;
  before(async () => {
    lab = new Lab();
    await lab.image('base');
    context = join(lab.directory, 'context');
    mkdirSync(context);
  });
  after(() => lab[Symbol.dispose]());

  /** The words for `imago build` of a Dockerfile. */
  const build = (dockerfile: string, flags = ''): string => {
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    return `imago build --pull=false ${flags} ${context}`;
  };
  const nothingLeft = (): void => {
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    const steps = join(lab.store.run, 'steps');
    assert.deepEqual(existsSync(steps) ? readdirSync(steps) : [], []);
  };

  it('is a live tree', async () => {
    const terminal = lab.terminal(build('FROM base\nRUN echo words; sleep 1; echo more\nWORKDIR /x\n'));
    const running = await terminal.see(/=> => # words/);
    assert.match(running, /\[\+\] Building \d+\.\ds \(1\/3\)/);
    const end = await terminal.see(/FINISHED[\s\S]*naming|FINISHED[\s\S]*writing/);
    assert.match(end, /=> \[2\/3\] RUN echo words; sleep 1; echo more +\d\.\ds/);
    assert.equal(end.lastIndexOf('\x1b[?25h') > end.lastIndexOf('\x1b[?25l'), true);
    assert.equal(await terminal.status(), 0);
  });

  it('ends in order by Ctrl-C', async () => {
    const terminal = lab.terminal(build('FROM base\nRUN echo begun; sleep 60\n'));
    await terminal.type(/# begun/, '\x03');
    const end = await terminal.see(/CANCELED \[2\/2\] RUN/);
    assert.equal(await terminal.status(), 130);
    assert.equal(end.lastIndexOf('\x1b[?25h') > end.lastIndexOf('\x1b[?25l'), true);
    nothingLeft();
  });

  it('--progress=plain is plain there, too; tty needs one', async () => {
    const terminal = lab.terminal(build('FROM base\nRUN echo plain\n', '--progress=plain'));
    assert.match(await terminal.see(/#\d exporting/), /^#2 \d\.\d+ plain\r$/m);
    assert.equal(await terminal.status(), 0);
    const words = build('FROM base\n').split(' ').filter(Boolean).slice(1);
    const piped = lab.imago([...words, '--progress=tty']);
    assert.equal(piped.status, 1);
    assert.match(piped.stderr, /--progress=tty needs a terminal/);
    const quiet = lab.imago([...words, '--progress=quiet']);
    assert.match(quiet.stdout, /^sha256:[0-9a-f]{64}\n$/);
    assert.equal(quiet.stderr, '');
    assert.equal(lab.imago([...words, '-q', '--progress=plain']).status, 125);
    const json = lab.imago(words, { env: { BUILDKIT_PROGRESS: 'rawjson' } });
    for (const line of json.stderr.trimEnd().split('\n')) assert.equal(typeof JSON.parse(line), 'object');
  });

  it('--debug opens a shell in what a failed RUN left, with its mounts, environment, directory and user', async () => {
    const dockerfile = [
      'FROM base',
      'ENV A=1',
      'ARG B=2',
      'RUN mkdir /w; chown ann /w',
      'WORKDIR /w',
      'USER ann',
      'RUN --mount=type=cache,target=/cache,mode=0777 echo left > /w/left; echo kept > /cache/kept; exit 7',
    ].join('\n');
    const terminal = lab.terminal(`${build(dockerfile, '--debug')}; echo "status=$?"`);
    await terminal.type(
      /A shell in the file system of \[4\/4\] RUN[\s\S]*\$ /,
      'cat left /cache/kept; echo "$A$B $PWD"; id -un; exit 9\r',
    );
    const end = await terminal.see(/status=\d+/);
    assert.match(end, /left\r\nkept\r\n12 \/w\r\nann\r\n/);
    assert.match(end, /The shell ended with 9\./);
    assert.match(end, /=> ERROR \[4\/4\] RUN[\s\S]*Dockerfile:7[\s\S]*exit code: 7/);
    assert.match(end, /status=1/);
    assert.equal(await terminal.status(), 0);
    nothingLeft();
  });

  it('--debug opens it in the state before a COPY that failed', async () => {
    const dockerfile = 'FROM base\nRUN echo before > /state\nWORKDIR /tmp\nCOPY nothere /\n';
    const terminal = lab.terminal(build(dockerfile, '--debug'));
    await terminal.type(/A shell in the file system of[\s\S]*# /, 'cat /state; pwd; touch /new; exit\r');
    const end = await terminal.see(/imago: /);
    assert.match(end, /before\r\n\/tmp\r\n/);
    assert.equal(await terminal.status(), 1);
    nothingLeft();
  });

  it('--debug says so where there is no shell, and where there is no terminal', async () => {
    const terminal = lab.terminal(build('FROM scratch\nCOPY nothere /\n', '--debug'));
    assert.match(await terminal.see(/imago: /), /--debug: no shell: /);
    assert.equal(await terminal.status(), 1);
    const piped = lab.imago(build('FROM base\nRUN exit 3\n', '--debug').split(' ').filter(Boolean).slice(1));
    assert.equal(piped.status, 1);
    assert.match(piped.stderr, /--debug: a shell where the step failed needs a terminal/);
    assert.match(piped.stderr, /exit code: 3/);
    nothingLeft();
  });

  it('tells the same of the same steps as docker does', () => {
    writeFileSync(join(context, 'f'), 'hi\n');
    const dockerfile = [
      'FROM base AS one',
      'RUN echo out; sleep 1; echo err >&2; sleep 1; printf partial',
      'FROM base',
      'WORKDIR /x',
      'COPY --from=one /etc/passwd /p',
      'COPY f /f',
      'RUN echo bad; exit 3',
    ].join('\n');
    const words = build(dockerfile, '--no-cache').split(' ').slice(1);
    const plain = lab.imago([...words, '--progress=plain']).stderr;
    const blocks = new Map<string, string[]>();
    let open: string[] = [];
    for (const line of plain.split('------')[0]!.split('\n')) {
      const [, name, text] = /^#\d+ (?:(\[.*)|(.*))$/.exec(line) ?? [];
      if (name !== undefined) {
        open = blocks.get(name) ?? [];
        blocks.set(name, open);
      } else if (text !== undefined && text !== '...') {
        open.push(text.replace(/^\d+\.\d+ /, 'T ').replace(/^DONE \d+\.\ds$/, 'DONE'));
      }
    }
    assert.deepEqual(Object.fromEntries([...blocks].filter(([name]) => !name.includes('FROM'))), DOCKER_PLAIN);
    assert.match(plain, /\n------\n > \[stage-1 5\/5\] RUN echo bad; exit 3:\nbad\n------\nDockerfile:7\n/);

    const names = new Map<string, string>();
    const inputs: Record<string, string[]> = {};
    const short = (name: string): string => (name.includes('FROM') ? 'FROM' : name.replace(/^(\[.*?\] \w+).*/, '$1'));
    for (const line of lab.imago([...words, '--progress=rawjson']).stderr.split('\n')) {
      if (!line.startsWith('{')) continue;
      for (const vertex of JSON.parse(line).vertexes ?? []) {
        names.set(vertex.digest, short(vertex.name));
        const from = (vertex.inputs ?? []).map((digest: string) => names.get(digest));
        if (from.length > 0) inputs[short(vertex.name)] = from;
      }
    }
    assert.deepEqual(inputs, DOCKER_INPUTS);
  });
});

/** Docker 26.1 with buildx 0.13, `--progress=plain`, times masked; without its internal steps and the bases. */
const DOCKER_PLAIN = {
  '[stage-1 2/5] WORKDIR /x': ['DONE'],
  '[one 2/2] RUN echo out; sleep 1; echo err >&2; sleep 1; printf partial': ['T out', 'T err', 'T partial', 'DONE'],
  '[stage-1 3/5] COPY --from=one /etc/passwd /p': ['DONE'],
  '[stage-1 4/5] COPY f /f': ['DONE'],
  '[stage-1 5/5] RUN echo bad; exit 3': [
    'T bad',
    'ERROR: process "/bin/sh -c echo bad; exit 3" did not complete successfully: exit code: 3',
  ],
};
/** What it says with `--progress=rawjson` about what builds on what, likewise. */
const DOCKER_INPUTS = {
  '[one 2/2] RUN': ['FROM'],
  '[stage-1 2/5] WORKDIR': ['FROM'],
  '[stage-1 3/5] COPY': ['[stage-1 2/5] WORKDIR', '[one 2/2] RUN'],
  '[stage-1 4/5] COPY': ['[stage-1 3/5] COPY'],
  '[stage-1 5/5] RUN': ['[stage-1 4/5] COPY'],
};
