import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { licenseExpression } from '../../src/build/sbom/licenses.ts';
import { readHeader } from '../../src/build/sbom/rpm.ts';
import { readNdb } from '../../src/build/sbom/rpm-ndb.ts';
import { composeSbom } from '../../src/build/sbom/sbom.ts';
import { importImage } from '../../src/engine/import.ts';
import { draftOf } from '../../src/image/draft.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { BuildLab, type Files } from './lab.ts';

interface Document {
  documentNamespace: string;
  creationInfo: { created: string; comment?: string };
  packages: {
    SPDXID: string;
    name: string;
    versionInfo?: string;
    licenseDeclared: string;
    supplier?: string;
    externalRefs?: { referenceLocator: string }[];
  }[];
  files?: { fileName: string; comment?: string; checksums: { algorithm: string; checksumValue: string }[] }[];
  hasExtractedLicensingInfos?: { licenseId: string; extractedText: string }[];
  relationships: { spdxElementId: string; relationshipType: string; relatedSpdxElement: string }[];
}

const CREATED = new Date('2024-02-03T04:05:06Z');

async function sbomOf(
  lab: BuildLab,
  files: Files,
  prepare?: (root: string) => void,
): Promise<{ document: Document; notes: string[]; bytes: string }> {
  const root = join(lab.directory, 'root-of-image');
  mkdirSync(root, { recursive: true });
  lab.write(files, root);
  prepare?.(root);
  const tar = join(lab.directory, 'image.tar');
  execFileSync('tar', ['--sort=name', '-cf', tar, '-C', root, '.']);
  await importImage(lab.store, tar, { reference: 'image' });
  const notes: string[] = [];
  const draft = draftOf(resolveImage(lab.store, 'image'));
  const { type, value } = await composeSbom(lab.store, draft, {
    created: CREATED,
    name: 'image',
    note: (n) => notes.push(n),
  });
  assert.equal(type, 'https://spdx.dev/Document');
  return { document: value as Document, notes, bytes: JSON.stringify(value) };
}

function purls({ packages }: Document): string[] {
  return packages.flatMap(({ externalRefs = [] }) => externalRefs.map((ref) => ref.referenceLocator));
}

describe('the SBOM of an image', () => {
  it('has what dpkg and distroless say, with source packages and licences', async () => {
    using lab = new BuildLab();
    const { document } = await sbomOf(lab, {
      'etc/os-release': 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n',
      'var/lib/dpkg/status':
        'Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9+deb12u9)\nVersion: 2.36-9+deb12u9\nMaintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>\nDescription: x\n more\n\n' +
        'Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n' +
        'Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:0.5.12-2~x\n',
      'var/lib/dpkg/status.d/base': 'Package: base-files\nArchitecture: all\nVersion: 12.4\n',
      'var/lib/dpkg/status.d/base.md5sums': 'Package: no\nVersion: 1\n',
      'usr/share/doc/dash/copyright':
        'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: BSD-3-clause\n\nFiles: b\nLicense: GPL-2+\n text\n\nFiles: c\nLicense: Own\n\nFiles: d\nLicense: GPL-2.0-or-later\n',
      'usr/share/doc/libc6/copyright': 'This is free.\n',
    });
    assert.deepEqual(purls(document), [
      'pkg:deb/debian/base-files@12.4?arch=all&distro=debian-12',
      'pkg:deb/debian/dash@1:0.5.12-2~x?arch=amd64&distro=debian-12',
      'pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=debian-12&upstream=glibc%402.36-9%2Bdeb12u9',
    ]);
    const dash = document.packages.find(({ name }) => name === 'dash')!;
    assert.equal(dash.licenseDeclared, 'BSD-3-Clause AND GPL-2.0-or-later AND LicenseRef-Own');
    const libc = document.packages.find(({ name }) => name === 'libc6')!;
    assert.equal(libc.licenseDeclared, 'NOASSERTION');
    assert.equal(libc.supplier, 'Person: GNU Libc Maintainers (debian-glibc@lists.debian.org)');
    const file = document.files!.find(({ fileName }) => fileName === './var/lib/dpkg/status')!;
    assert.match(file.comment!, /^layerID: sha256:/);
    assert.deepEqual(
      file.checksums.map(({ algorithm }) => algorithm),
      ['SHA1', 'SHA256'],
    );
    assert.ok(
      document.relationships.some(
        ({ spdxElementId, relationshipType, relatedSpdxElement }) =>
          spdxElementId === 'SPDXRef-Image' && relationshipType === 'CONTAINS' && relatedSpdxElement === dash.SPDXID,
      ),
    );
  });

  it('has what apk, npm and Python say', async () => {
    using lab = new BuildLab();
    const { document } = await sbomOf(lab, {
      'etc/os-release': '->../usr/lib/os-release',
      'usr/lib/os-release': "ID=alpine\nVERSION_ID='3.20.1'\n",
      'lib/apk/db/installed':
        'C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:Timo <t@example.com>\nU:https://musl.libc.org/\nF:lib\nR:ld.so\n\nP:busybox-binsh\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\no:busybox\n\n',
      'app/node_modules/@scope/thing/package.json':
        '{"name":"@scope/thing","version":"1.0.0","license":"(MIT OR Apache-2.0)"}',
      'app/node_modules/left/package.json':
        '{"name":"left","version":"2.0.0","licenses":[{"type":"MIT"},{"type":"Strange One"}]}',
      'app/node_modules/left/lib/package.json': '{"type":"module"}',
      'app/node_modules/broken/package.json': '{"name":',
      'app/node_modules/list/package.json': '[1]',
      'app/package.json': '{"name":"app","version":"0.0.1"}',
      'usr/lib/python3/dist-packages/My_Lib-1.5.dist-info/METADATA':
        'Metadata-Version: 2.4\nName: My_Lib\nVersion: 1.5\nLicense-Expression: Apache-2.0 WITH LLVM-exception\n\nName: other\n',
      'usr/lib/python3/dist-packages/old.egg-info': 'Metadata-Version: 1.0\nName: old\nVersion: 3\nLicense: UNKNOWN\n',
    });
    assert.deepEqual(purls(document), [
      'pkg:apk/alpine/busybox-binsh@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1&upstream=busybox',
      'pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1',
      'pkg:npm/%40scope/thing@1.0.0',
      'pkg:npm/left@2.0.0',
      'pkg:pypi/my-lib@1.5',
      'pkg:pypi/old@3',
    ]);
    const licenses = Object.fromEntries(document.packages.map(({ name, licenseDeclared }) => [name, licenseDeclared]));
    assert.equal(licenses['@scope/thing'], '(MIT OR Apache-2.0)');
    assert.equal(licenses.My_Lib, 'Apache-2.0 WITH LLVM-exception');
    assert.equal(licenses.old, 'NOASSERTION');
    assert.equal(licenses.left, 'LicenseRef-MIT-OR-Strange-One');
    assert.deepEqual(document.hasExtractedLicensingInfos, [
      { licenseId: 'LicenseRef-MIT-OR-Strange-One', extractedText: 'MIT OR Strange One', name: 'MIT OR Strange One' },
    ]);
  });

  it('has what an RPM database says, also one with a write-ahead log; other formats are told as not read', async () => {
    using lab = new BuildLab();
    const { document, notes } = await sbomOf(
      lab,
      {
        'etc/os-release': 'ID=fedora\nVERSION_ID=40\n',
        'var/lib/rpm': '->../../usr/lib/sysimage/rpm',
        'usr/lib/sysimage/rpm/Packages.db': 'RpmP',
        'usr/lib/sysimage/rpm/Packages': 'bdb',
      },
      (root) => {
        const database = new DatabaseSync(join(root, 'usr/lib/sysimage/rpm/rpmdb.sqlite'));
        database.exec(
          'PRAGMA journal_mode=WAL; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)',
        );
        const insert = database.prepare('INSERT INTO Packages (blob) VALUES (?)');
        insert.run(
          rpmHeader({
            1000: 'bash',
            1001: '5.2',
            1002: '3.fc40',
            1014: 'GPL-3.0-or-later',
            1022: 'x86_64',
            1044: 'bash-5.2-3.fc40.src.rpm',
            1011: 'Fedora Project',
          }),
        );
        insert.run(rpmHeader({ 1000: 'shadow', 1001: '4', 1002: '1', 1003: 2 }));
        insert.run(rpmHeader({ 1000: 'gpg-pubkey', 1001: '1', 1002: '1' }));
        insert.run(Buffer.from('rubbish'));
        database.close();
      },
    );
    assert.deepEqual(purls(document), [
      'pkg:rpm/fedora/bash@5.2-3.fc40?arch=x86_64&distro=fedora-40&upstream=bash-5.2-3.fc40.src.rpm',
      'pkg:rpm/fedora/shadow@4-1?distro=fedora-40&epoch=2',
    ]);
    assert.equal(document.packages.find(({ name }) => name === 'shadow')!.versionInfo, '2:4-1');
    assert.match(notes.join(), /Packages: an RPM database in the format Berkeley DB is not read/);
    assert.match(document.creationInfo.comment!, /Berkeley DB is not read/);
  });

  it('is the same for the same image, and another for another', async () => {
    const status = 'Package: a\nStatus: install ok installed\nVersion: 1\n';
    const make = async (text: string): Promise<Document> => {
      using lab = new BuildLab();
      return (await sbomOf(lab, { 'var/lib/dpkg/status': text })).document;
    };
    const [first, second, other] = [await make(status), await make(status), await make(status.replace(': 1', ': 2'))];
    // The tars have other times, and so the layers have other digests: only what is not about them is compared.
    const bare = (document: Document): unknown => ({
      ...document,
      documentNamespace: '',
      packages: purls(document),
      files: [],
    });
    assert.deepEqual(bare(first), bare(second));
    assert.notDeepEqual(bare(first), bare(other));
    assert.equal(first.creationInfo.created, '2024-02-03T04:05:06Z');
    assert.match(
      first.documentNamespace,
      /^https:\/\/spdx\.org\/spdxdocs\/imago-[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });

  it('takes no harm from damaged databases', async () => {
    using lab = new BuildLab();
    const { document, notes } = await sbomOf(lab, {
      'var/lib/dpkg/status': '\0\0\x01garbage\n\n:\n: x\nPackage:\nVersion: 1\n'.replaceAll('\0', '\x02'),
      'lib/apk/db/installed': 'P:\n\nV:1\n\n'.repeat(10),
      'var/lib/rpm/rpmdb.sqlite': `SQLite format 3${'x'.repeat(5000)}`,
      'var/lib/rpm/Packages': 'bdb',
    });
    assert.deepEqual(purls(document), []);
    assert.match(notes.join('\n'), /rpmdb\.sqlite: the RPM database cannot be read/);
    assert.match(notes.join('\n'), /Berkeley DB is not read/);
  });
});

describe('licence expressions', () => {
  const cases: [said: string | string[] | undefined, want: string][] = [
    [undefined, 'NOASSERTION'],
    ['mit', 'MIT'],
    ['GPL-2+', 'GPL-2.0-or-later'],
    ['GPLv3', 'GPL-3.0-only'],
    ['LGPL-2.1-or-later', 'LGPL-2.1-or-later'],
    ['Expat', 'MIT'],
    ['GPL-2+ and (Expat or BSD-3-clause)', 'GPL-2.0-or-later AND (MIT OR BSD-3-Clause)'],
    ['Artistic or GPL-1+', 'Artistic-1.0-Perl OR GPL-1.0-or-later'],
    ['BSD', 'LicenseRef-BSD'],
    [['Expat', 'Artistic or GPL-1+', 'MIT'], '(Artistic-1.0-Perl OR GPL-1.0-or-later) AND MIT'],
    [[], 'NOASSERTION'],
    ['(MIT', 'LicenseRef-MIT'],
    ['MIT AND', 'LicenseRef-MIT-AND'],
    ['('.repeat(10_000), 'LicenseRef-fd4fd4dbb8dd0be8'],
  ];
  for (const [said, want] of cases) {
    it(`${JSON.stringify(said)?.slice(0, 40)}`, () => {
      const got = licenseExpression(said, new Map());
      if (want.startsWith('LicenseRef-fd4')) assert.match(got, /^LicenseRef-[0-9a-f]{16}$/);
      else assert.equal(got, want);
    });
  }
});

describe('an ndb database', () => {
  it('as rpm wrote it', async () => {
    using lab = new BuildLab();
    const { document, notes } = await sbomOf(
      lab,
      { 'etc/os-release': 'ID=opensuse-leap\nVERSION_ID=15.6\n', 'usr/lib/sysimage/rpm/': '' },
      (root) => writeFileSync(join(root, 'usr/lib/sysimage/rpm/Packages.db'), NDB),
    );
    assert.deepEqual(notes, []);
    assert.deepEqual(purls(document), [
      'pkg:rpm/opensuse-leap/alpha@1.2-4?arch=noarch&distro=opensuse-leap-15.6&epoch=3&upstream=alpha-1.2-4.src.rpm',
      'pkg:rpm/opensuse-leap/beta@1.2-4?arch=noarch&distro=opensuse-leap-15.6&upstream=beta-1.2-4.src.rpm',
    ]);
    const alpha = document.packages.find(({ name }) => name === 'alpha')!;
    assert.equal(alpha.versionInfo, '3:1.2-4');
  });

  it('that is cut, bent or lies is told, and takes no time', () => {
    assert.equal(readNdb(NDB)!.length, 2);
    for (let length = 0; length < NDB.length; length += 7) assert.equal(readNdb(NDB.subarray(0, length)), undefined);
    for (let at = 0; at < NDB.length; at++) {
      const bent = Buffer.from(NDB);
      bent[at]! ^= 0xff;
      for (const header of readNdb(bent) ?? []) readHeader(header);
      // What counts is under a checksum.
      if (at >= 4096) assert.equal(readNdb(bent), undefined, `${at}`);
    }
    // One blob in many slots: each time it would be summed up.
    const lying = Buffer.from(NDB);
    for (let slot = 3; slot < 256; slot++) NDB.copy(lying, slot * 16, 2 * 16, 3 * 16);
    assert.equal(readNdb(lying), undefined);
    assert.equal(readNdb(Buffer.alloc(1 << 20)), undefined);
  });
});

describe('RPM headers', () => {
  it('that are cut or lie about their size are no packages', () => {
    const whole = rpmHeader({ 1000: 'a', 1001: '1', 1002: '2', 1003: 7 });
    assert.equal(readHeader(whole)?.epoch, 7);
    for (let length = 0; length < whole.length; length++)
      assert.equal(readHeader(whole.subarray(0, length)), undefined);
    for (let at = 0; at < whole.length; at++) {
      const bent = Buffer.from(whole);
      bent[at] = 0xff;
      readHeader(bent);
    }
  });
});

/** Two packages of no files, put in with `rpm --define '_db_backend ndb' --justdb -i` of rpm 4.20.1; gzip, base64. */
const NDB = gunzipSync(
  Buffer.from(
    [
      'H4sIAAAAAAACA+2YT2gdRRjA570kNtXGKok1Sg9BFBJ1X3b+7M5sESSt1QqtedgUIhTpzM5M8sx7ect7r+FVelDwKF48iUdPHjx4',
      'EA/izYoHD5Gql4p4qGA0aoNSekits2+/0DjiISd72IV5837zzXwzszv8YPfFrFVH7hpypQL17ut0s93L2/PgaeBqXu9iv3/JJZdc',
      'cskll1xyySWXXHLJJZd8Z/HRpspf5Qfv/veNDJqeQKi66OqnXdnnIh/lIVe0K6MwzHUf+snVd7lSBd4AHgX+GfgA8C+uHoZcOW+6',
      'er8rE8C/Ah8C/g36TwL/DvkOA29BfAr4D4g/CnwdeAb4BuQPgLchngDfBJ4H/gv4TMHDE8BngR+EvWbAk7CefvEZZfghiL8B/DDw',
      'ZeBpyLcB4xdh/DXgl6D/n8AK+m8D64Ir8Olm2ADD/R+2wGPATeCDBY+/XcxXgfs1/jnEp4GvFvNXasA/Qn/Y7/gGxHsFVyoQ/wJ4',
      'BM7Pl8UzH6wjz/8dxO8vuDoC9/taMb56AtZ7CPgk8BJwHXgZeCHnY0g2s2WJcI0gVpzRoTn3KFYOXP92rVU0zKUtg049v4DOrHYz',
      'kzZsw2i03Otl3SOzs6YvW1nT1NqdpVmJmo3V83202paddLnIHLjMAat1O2mtk7VgtsFC7t4prr3ZUNPH2q2sY7pdo59tNM0LsmW6',
      'MwhiecszjSXT7d1uq8sLzbYcdO6ekGum3jG20Z9BtBbWWIARq8W1cFAXvySs4Xw7o/TIYE0omCdTwRJKs0YbLb3ayNyJLlYerJlV',
      '3e4ExW4GY873bCCQtDQxOMWJtIwLaSyXIVUmEcbKRCdKSkKEVYlNqKGCER1rrjCTmMWRZFFS5CJUh4wQxayRrjvn2AhOOMNKUR7y',
      'JFQ01WFEhZFWsRgTSo0goRJMRVyS/LwWkrl16+Y6iME90uiVS2/Nf7a1svzJ5PePnNv8+BKlIeYRDoUKQ6o5M0opSSmJIx0lJLUa',
      'pzJMmUYxIbHFMtVMEMZ1ahIruEkTLpXQIqFcY56SkCTCxjhlRkSx1TJhliiSMJ262fPz4qqL+fmB/2h7/fJm7kbnyuO5L6sgvdHC',
      'l487OrfLl5/u0Zf7PF/e4/lxzPPjQc+PE54fJz0/Hvb8OOX58THPj7Hnx6OeHxc9P77s+dF4fux7fnzN8+Obnh+veH7c8vx4w/Pj',
      '9j/9WKl6ftzv+fFez4/jnh8f8Pz4pOfH0PNj7Pmx7/nxoufHdc+PX3t+vOr5cczzY93z44Lnx0XPj2cLPyrT29Hj3OCZ/NuNz9VP',
      'BsRZJleG7JnOXkWZT+F5cjDr/+zJPVvyDvbkD7c9Gbx76r1vsuOvf9i68s77svrUBotopA3BJuVEMBspZaiRobIp1y45pcoyJjRH',
      'bj3ECrcx5XyYCqkptqGTrAgVw4QL4XYZRrEUTOpE8MhtVkXEGGojgy1O/sOTO9eFr1Y+GAVf/g1tRZ5eYBoAAA==',
    ].join(''),
    'base64',
  ),
);

function rpmHeader(tags: Record<number, string | number>): Buffer {
  const entries: Buffer[] = [];
  let data = Buffer.alloc(0);
  for (const [tag, value] of Object.entries(tags)) {
    if (typeof value === 'number') while (data.length % 4 !== 0) data = Buffer.concat([data, Buffer.alloc(1)]);
    const entry = Buffer.alloc(16);
    entry.writeUInt32BE(Number(tag), 0);
    entry.writeUInt32BE(typeof value === 'number' ? 4 : 6, 4);
    entry.writeUInt32BE(data.length, 8);
    entry.writeUInt32BE(1, 12);
    entries.push(entry);
    const bytes = typeof value === 'number' ? Buffer.alloc(4) : Buffer.from(`${value}\0`);
    if (typeof value === 'number') bytes.writeUInt32BE(value);
    data = Buffer.concat([data, bytes]);
  }
  const head = Buffer.alloc(8);
  head.writeUInt32BE(entries.length, 0);
  head.writeUInt32BE(data.length, 4);
  return Buffer.concat([head, ...entries, data]);
}
