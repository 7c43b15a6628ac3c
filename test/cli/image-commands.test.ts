import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseArguments } from '../../src/cli/args.ts';
import type { Command } from '../../src/cli/command.ts';
import { command as diff } from '../../src/cli/commands/diff.ts';
import { command as history } from '../../src/cli/commands/history.ts';
import { command as images } from '../../src/cli/commands/images.ts';
import { command as rmi } from '../../src/cli/commands/rmi.ts';
import { command as tag } from '../../src/cli/commands/tag.ts';
import { shortId } from '../../src/core/digest.ts';
import { editConfig } from '../../src/image/draft.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { Sample } from '../image/sample.ts';

interface Outcome {
  status: number;
  out: string;
}

async function run(sample: Sample, command: Command, line: string[]): Promise<Outcome> {
  const parsed = parseArguments(command, line);
  let out = '';
  const stream = { write: (text: string) => (out += text) } as unknown as NodeJS.WriteStream;
  const context = { ...parsed, stdout: stream, stderr: stream, openStore: () => sample.store };
  const status = await command.run(context as unknown as Parameters<Command['run']>[0]);
  return { status, out };
}

const APP = { 'bin/app': '#!/bin/sh\n' };

describe('image commands print as Docker does', () => {
  it('images', async () => {
    await using sample = new Sample();
    const created = new Date(Date.now() - 7_300_000).toISOString();
    await sample.image('quay.io/o/app:1', [APP], (draft) => editConfig(draft, {}, { created }));
    const { id, descriptor } = resolveImage(sample.store, 'quay.io/o/app:1');
    const short = shortId(id);
    assert.deepEqual((await run(sample, images, [])).out.split('\n'), [
      'REPOSITORY      TAG       IMAGE ID       CREATED       SIZE',
      `quay.io/o/app   1         ${short}   2 hours ago   10.2kB`,
      '',
    ]);
    assert.equal((await run(sample, images, ['-q', '--no-trunc'])).out, `${id}\n`);
    assert.equal(
      (await run(sample, images, ['--format', '{{.Repository}}@{{.Digest}}'])).out,
      `quay.io/o/app@${descriptor.digest}\n`,
    );
    assert.match((await run(sample, images, ['--digests'])).out, /^REPOSITORY +TAG +DIGEST +IMAGE ID/);
    assert.equal((await run(sample, images, ['nothing'])).out, 'REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n');
  });

  it('history', async () => {
    await using sample = new Sample();
    const step = `RUN a\tvery long command ${'x'.repeat(60)}\nsecond line\x1b[31m`;
    await sample.image('app', [APP], (draft) =>
      editConfig(draft, {}, { created: '2026-01-01T00:00:00Z', created_by: step }),
    );
    const lines = (await run(sample, history, ['app'])).out.split('\n');
    assert.match(lines[0]!, /^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$/);
    assert.match(lines[1]!, /^[0-9a-f]{12} .* RUN a very long command x{20}… +0B/);
    assert.match(lines[3]!, /^<missing> .* layer 0 +10\.2kB/);
    assert.equal((await run(sample, history, ['-q', 'app'])).out.split('\n')[1], '<missing>');
    assert.ok(!(await run(sample, history, ['--no-trunc', 'app'])).out.includes('\x1b'));
    assert.match((await run(sample, history, ['--human=false', 'app'])).out, /2026-01-01T00:00:00Z .* 10240 /);
  });

  it('tag, diff, rmi', async () => {
    await using sample = new Sample();
    await sample.image('a', [APP]);
    await sample.image('b', [APP, { 'etc/ä\n': '1' }]);
    assert.deepEqual(await run(sample, tag, ['a', 'c:1']), { status: 0, out: '' });
    assert.equal((await run(sample, diff, ['a', 'b'])).out, 'A /etc\nA /etc/ä\\x0a\n');
    assert.equal((await run(sample, diff, ['--format', 'json', 'b', 'a'])).out, '{"kind":"D","path":"/etc"}\n');
    assert.deepEqual(await run(sample, rmi, ['c:1']), { status: 0, out: 'Untagged: c:1\n' });
    assert.match(
      (await run(sample, rmi, ['b'])).out,
      /^Untagged: b:latest\nDeleted: sha256:[0-9a-f]{64}\nDeleted: sha256:[0-9a-f]{64}\n$/,
    );
  });
});
