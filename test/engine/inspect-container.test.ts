import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { command } from '../../src/cli/commands/inspect.ts';
import { createContainer } from '../../src/container/create.ts';
import { parseVolumeOption } from '../../src/container/mount-request.ts';
import { inspectContainer } from '../../src/engine/inspect-container.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { Sample } from '../image/sample.ts';

const APP = { 'bin/app': '#!/bin/sh\n' };

describe('inspectContainer', () => {
  it('has what scripts ask for', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a', [APP]);
    const mounts = [parseVolumeOption('/srv:/data:ro'), parseVolumeOption('cache:/var/cache')];
    const { id } = createContainer(store, { image: 'a', name: 'web', env: ['X=1'], mounts }, 'conmon');
    const seen = inspectContainer(store, 'web');
    assert.equal(seen.Id, id);
    assert.equal(seen.Name, '/web');
    assert.equal(seen.Image, resolveImage(store, 'a').id);
    assert.deepEqual([seen.Path, seen.Args], ['/bin/app', []]);
    assert.deepEqual([seen.State.Status, seen.State.Running, seen.State.Pid], ['created', false, 0]);
    assert.ok((seen.Config.Env as string[]).includes('X=1'));
    assert.equal(seen.Config.Image, 'a');
    assert.deepEqual(seen.HostConfig.Binds, ['/srv:/data:ro', 'cache:/var/cache']);
    assert.deepEqual(
      seen.Mounts.map(({ Type, Destination, RW }) => [Type, Destination, RW]),
      [
        ['bind', '/data', false],
        ['volume', '/var/cache', true],
      ],
    );
  });
});

describe('imago inspect', () => {
  async function inspect(
    sample: Sample,
    args: string[],
    options: Record<string, string>,
  ): Promise<[number, string, string]> {
    const written = { stdout: '', stderr: '' };
    const into = (name: 'stdout' | 'stderr'): NodeJS.WriteStream =>
      ({ write: (text: string) => (written[name] += text) }) as unknown as NodeJS.WriteStream;
    const context = { args, options, stdout: into('stdout'), stderr: into('stderr'), openStore: () => sample.store };
    const status = await command.run(context as unknown as Parameters<typeof command.run>[0]);
    return [status, written.stdout, written.stderr];
  }

  it('takes a container before an image, unless told which', async () => {
    await using sample = new Sample();
    await sample.image('aa', [APP]);
    createContainer(sample.store, { image: 'aa', name: 'aa' }, 'conmon');
    const id = resolveImage(sample.store, 'aa').id;
    assert.deepEqual(await inspect(sample, ['aa'], { format: '{{.Name}}' }), [0, '/aa\n', '']);
    assert.deepEqual(await inspect(sample, ['aa'], { format: '{{.Id}}', type: 'image' }), [0, `${id}\n`, '']);
    assert.deepEqual(await inspect(sample, ['aa'], { format: '{{json .RepoTags}}', type: 'image' }), [
      0,
      '["aa:latest"]\n',
      '',
    ]);
    await assert.rejects(async () => inspect(sample, ['aa'], { type: 'plugin' }), { code: 'BAD_FLAG_VALUE' });
  });

  it('shows what there is and says what there is not', async () => {
    await using sample = new Sample();
    await sample.image('a', [APP]);
    const [status, out, errors] = await inspect(sample, ['nothing', 'a', 'Not A Name'], {});
    assert.equal(status, 1);
    assert.equal(errors, 'Error: No such object: nothing\nError: No such object: Not A Name\n');
    assert.deepEqual(
      JSON.parse(out).map((item: { RepoTags: string[] }) => item.RepoTags),
      [['a:latest']],
    );
    assert.ok(out.startsWith('[\n    {\n        "Id": "sha256:'));
    assert.deepEqual(await inspect(sample, ['nothing'], { type: 'image' }), [
      1,
      '[]\n',
      'Error: No such image: nothing\n',
    ]);
  });
});
