"""Bad archives, made by Python's tarfile: `python3 archives.py DIRECTORY` writes NAME.tar for each of them."""
import io
import sys
import tarfile

out = sys.argv[1]


def file(name, data=b'x'):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, io.BytesIO(data)


def entry(name, kind, link=''):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.mode = 0o755
    return info, None


def folder(name):
    return entry(name, tarfile.DIRTYPE)


def symlink(name, target):
    return entry(name, tarfile.SYMTYPE, target)


def hardlink(name, target):
    return entry(name, tarfile.LNKTYPE, target)


def pack(name, *members):
    with tarfile.open(f'{out}/{name}.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, data)


pack('dotdot', file('../evil'))
pack('dotdot-inside', folder('a'), file('a/../../evil'))
pack('absolute', file('/etc/evil'))
pack('symlink-then-file', symlink('a', '/etc'), file('a/evil'))
pack('symlink-up-then-file', symlink('a', '../../..'), file('a/evil'))
pack('symlink-as-parent-of-directory', symlink('a', '/'), folder('a/b'))
pack('hardlink-outside', hardlink('a', '../../etc/passwd'))
pack('hardlink-to-host-file', hardlink('a', '/etc/passwd'))
pack('hardlink-through-symlink', symlink('s', '/etc'), hardlink('a', 's/passwd'))
pack('hardlink-to-nothing', hardlink('a', 'nothing'))
pack('hardlink-to-itself', hardlink('a', 'a'))
pack('hardlink-to-directory', folder('d'), hardlink('a', 'd'))
pack('hardlinks-in-a-circle', hardlink('a', 'b'), hardlink('b', 'a'))
pack('own-parent', file('a'), file('a/a'))
pack('own-parent-by-hardlink', folder('a'), hardlink('a/b', 'a'))
pack('name-of-300-bytes', file('n' * 300))
pack('path-of-5000-bytes', file('/'.join(['n' * 200] * 25)))
pack('root-is-a-file', file('.'))
pack('name-is-empty', file(''))
pack('symlink-to-nothing', symlink('a', ''))
pack('symlink-of-5000-bytes', symlink('a', 't' * 5000))
pack('whiteout-of-parent', file('.wh...'))
pack('whiteout-of-itself', file('.wh..'))
pack('whiteout-of-nothing', file('.wh.'))
pack('below-a-whiteout', folder('.wh.a'), file('.wh.a/b'))
pack('control-characters', symlink('a\x1b[31m\n', '/'), file('a\x1b[31m\n/b'))
