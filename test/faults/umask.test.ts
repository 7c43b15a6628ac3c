/** The program under every umask: what it makes is the same, and is there for itself to use. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { currentUmask } from '../../src/system/process.ts';
import { type Rig, ServeLab } from '../registry/serve-lab.ts';
import { Arena } from './arena.ts';
import { needsContainers, packBusybox } from './samples.ts';

const UMASKS = ['022', '000', '077', '0177', '0777'];
const EPOCH = { SOURCE_DATE_EPOCH: '1700000000' };
const DOCKERFILE = `FROM localhost:PORT/team/busybox
COPY context-file /dir/
WORKDIR /made/there
RUN --mount=type=cache,target=/cache --mount=type=secret,id=s,target=/s mkdir -p /new/er && touch /new/file && : > /cache/x
USER 1000
RUN id -u; umask
`;

describe('under a umask of', { skip: needsContainers() ?? false }, () => {
  let lab: ServeLab;
  let rig: Rig;
  const results = new Map<string, unknown>();
  before(async () => {
    lab = new ServeLab();
    rig = await lab.serve();
    using arena = new Arena();
    arena.ok(['import', packBusybox(arena), `localhost:${rig.port}/team/busybox`]);
    await ended(arena, ['push', `localhost:${rig.port}/team/busybox`]);
  });
  after(() => lab[Symbol.asyncDispose]());

  for (const umask of UMASKS) {
    test(umask, async () => {
      const arena = new Arena();
      const through = ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'];
      const base = `localhost:${rig.port}/team/busybox`;
      await ended(arena, ['pull', base], through);
      arena.write('context/Dockerfile', DOCKERFILE.replace('PORT', String(rig.port)));
      arena.write('context/context-file', 'x\n');
      arena.write('secret', 'x\n');
      // As the directory's own owner has it, whatever the test's umask is.
      mkdirSync(arena.path('out'));
      const files = ['--iidfile', arena.path('out/id'), '--metadata-file', arena.path('out/metadata')];
      const build = ['build', '--rewrite-timestamp', '--secret', `id=s,src=${arena.path('secret')}`, '-t', 'built'];
      arena.ok([...build, ...files, 'context'], { through, env: EPOCH });
      const tree = ['--output', `type=local,dest=${arena.path('out/tree')}`];
      arena.ok([...build, ...tree, 'context'], { through, env: EPOCH });
      const ran = arena.ok(['run', '--rm', 'built', 'sh', '-c', 'cd /made/there && ls -dl /new/* /dir/* && umask'], {
        through,
      });
      arena.ok(['save', '-o', arena.path('out/saved'), 'built'], { through });
      const written = Number.parseInt(umask, 8);
      const modeOf = (name: string): number => statSync(arena.path('out', name)).mode & 0o7777;
      assert.equal(modeOf('id'), 0o644 & ~written);
      assert.equal(modeOf('metadata'), 0o644 & ~written);
      assert.equal(modeOf('saved'), 0o600);
      assert.equal(modeOf('tree/dir/context-file'), 0o644);
      assert.equal(modeOf('tree/new/er'), 0o755);
      results.set(umask, {
        id: readFileSync(arena.path('out/id'), 'utf8'),
        ran: ran.replace(/ \w+ +\d+ \d+:\d+ /g, ' '),
      });
      assert.deepEqual(results.get(umask), results.get('022'));
      await arena.finish();
    });
  }

  test('0777, of a library: refused in words, before anything is made', () => {
    const arena = new Arena();
    try {
      const library = new URL('../../src/index.ts', import.meta.url).pathname;
      const script = `import { Engine } from '${library}'; process.umask(0o777);
        try { await new Engine().images(); } catch (error) { console.log(error.code, error.message); }`;
      const through = ['sh', '-c', `"$0" --input-type=module -e "$1"`, process.execPath, script];
      const { stdout, stderr } = arena.imago([], { through });
      assert.match(stdout, /^UMASK_TAKES_OWNERS .*got 0777: set another/, stderr);
      assert.equal(statSync(arena.root, { throwIfNoEntry: false }), undefined);
    } finally {
      arena[Symbol.dispose]();
    }
  });
});

test("a process's umask is read without being set", () => {
  const before = process.umask(0o027);
  try {
    assert.equal(currentUmask(), 0o027);
  } finally {
    process.umask(before);
  }
});

/** Runs a command that this process answers. */
async function ended(arena: Arena, words: readonly string[], through: readonly string[] = []): Promise<void> {
  const { status, stderr } = await arena.start(words, { through }).end();
  assert.equal(status, 0, stderr);
}
