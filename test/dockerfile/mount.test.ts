import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type MountFlag, mountOrigin, parseMount } from '../../src/formats/dockerfile/mount.ts';

const same = (value: string): string => value;
const BIND: MountFlag = {
  type: 'bind',
  from: '',
  source: '',
  target: '',
  readonly: true,
  size: 0,
  id: '',
  required: false,
};

describe('RUN --mount', () => {
  const good: [text: string, want: Partial<MountFlag>][] = [
    ['target=/x', { target: '/x' }],
    ['type=bind,source=a,target=/x', { source: 'a', target: '/x' }],
    ['TYPE=BIND,SRC=a,dst=/x', { source: 'a', target: '/x' }],
    ['type=bind,destination=/x,rw', { target: '/x', readonly: false }],
    ['dst=/x,rw=false', { target: '/x' }],
    ['dst=/x,readwrite=1', { target: '/x', readonly: false }],
    ['dst=/x,ro=f', { target: '/x', readonly: false }],
    ['type=cache,target=/c', { type: 'cache', target: '/c', readonly: false }],
    ['type=cache,target=/c,ro', { type: 'cache', target: '/c' }],
    [
      'type=cache,id=i,target=/c,sharing=LOCKED,mode=0750,uid=5,gid=6,from=s',
      {
        type: 'cache',
        id: 'i',
        target: '/c',
        sharing: 'locked',
        mode: 0o750,
        uid: 5,
        gid: 6,
        from: 's',
        readonly: false,
      },
    ],
    ['type=tmpfs,target=/t,size=1.5m', { type: 'tmpfs', target: '/t', size: 1.5 * 2 ** 20, readonly: false }],
    ['type=tmpfs,target=/t,size=64KiB', { type: 'tmpfs', target: '/t', size: 65536, readonly: false }],
    ['type=tmpfs,target=/t,size=7', { type: 'tmpfs', target: '/t', size: 7, readonly: false }],
    ['type=secret,id=s,required', { type: 'secret', id: 's', required: true }],
    ['type=secret,id=s,required=false,env=E', { type: 'secret', id: 's', env: 'E' }],
    ['type=ssh,id=s,mode=666', { type: 'ssh', id: 's', mode: 0o666 }],
    ['"source=a,b",target=/x', { source: 'a,b', target: '/x' }],
    ['"source=a""b",target=/x', { source: 'a"b', target: '/x' }],
    ['source=a=b', { source: 'a=b' }],
  ];
  for (const [text, want] of good) {
    it(text, () => assert.deepEqual(parseMount(text, same), { ...BIND, ...want }));
  }

  const wrong: [text: string, message: string][] = [
    ['typ=tmpfs', "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)"],
    ['type=tmp', 'unsupported mount type "tmp" (did you mean tmpfs?)'],
    ['type=cache,sharing=lock', 'unsupported sharing value "lock" (did you mean locked?)'],
    ['target', "invalid field 'target' must be a key=value pair"],
    ['', "invalid field '' must be a key=value pair"],
    ['target=/x,', "invalid field '' must be a key=value pair"],
    ['target=/x,required', "unexpected key 'required' for mount type 'bind'"],
    ['size=1m,type=tmpfs', "unexpected key 'size' for mount type 'bind'"],
    ['type=tmpfs,size=x', 'invalid value for size: x'],
    ['type=bind,ro=yes', 'invalid value for ro: yes'],
    ['type=bind,mode=755', 'mode not allowed for "bind" type mounts'],
    ['type=tmpfs,uid=1', 'uid not allowed for "tmpfs" type mounts'],
    ['type=cache,mode=9', 'invalid value 9 for mode'],
    ['type=cache,uid=-1', 'invalid value -1 for uid'],
    ['type=cache,gid=4294967296', 'invalid value 4294967296 for gid'],
    ['type=secret', 'invalid secret mount. one of source, target, id required'],
    ['type=secret,id=a,from=b', 'secret mount should not have a from'],
    ['type=secret,id=a,source=b', "both source and id can't be set"],
    ['type=secret,id=a,sharing=shared', 'secret mount should not define sharing'],
    ['type=ssh,sharing=shared', 'invalid cache sharing set for ssh mount'],
    ['type=ssh,source=a', 'ssh does not support source'],
    ['"target=/x', 'failed to parse csv mounts: a quote is not closed'],
    ['"target=/x"y', 'failed to parse csv mounts: text after a closing quote'],
    ['target="/x"', 'failed to parse csv mounts: a quote inside a field without quotes'],
  ];
  for (const [text, message] of wrong) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseMount(text, same),
        (error: Error) => error.message.startsWith(message),
      );
    });
  }

  it('expands values, not keys', () => {
    const expand = (value: string): string => value.replaceAll('$T', 'cache').replaceAll('$P', '/p,q');
    assert.deepEqual(parseMount('type=$T,target=$P', expand), {
      ...BIND,
      type: 'cache',
      target: '/p,q',
      readonly: false,
    });
  });

  it('its origin', () => {
    assert.equal(mountOrigin('type=$T,from=a,target=$X'), 'a');
    assert.equal(mountOrigin('target=/x,rw'), '');
    assert.throws(() => mountOrigin('from=$s,target=/x'), {
      message: /'from' doesn't support variable expansion, define alias stage instead/,
    });
  });
});
