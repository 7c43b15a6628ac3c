/** Dockerfiles in source packages of Debian 12. */
import type { PublicPackage } from './public-case.ts';

/** What apt-get leaves that no two runs share. */
const APT = ['^var/log/', '^var/lib/apt/', '^var/cache/apt/', '^var/cache/debconf/', '^var/lib/dpkg/.*-old$'];

export const debianPackages: PublicPackage[] = [
  {
    project: 'distribution/distribution',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'docker-registry',
    version: '2.8.2+ds1-1',
    dockerfiles: [
      {
        name: 'registry',
        path: 'Dockerfile',
        sha256: 'bee7d04dc3906e9b140fb839dee1721cbc285c5978d8ea60756b2a3be337a5e5',
        official: 'registry',
        made: { '.git/HEAD': 'v2.8.2\n' },
      },
      {
        name: 'registry-nginx',
        path: 'contrib/docker-integration/nginx/Dockerfile',
        sha256: 'ab23025163d2741c976ee0f75a010beb985908ef46eb507a05b59306f93331f0',
        made: { 'v1/_ping': 'true\n' },
      },
      {
        name: 'registry-dev-image',
        path: 'project/dev-image/Dockerfile',
        sha256: 'b47ba3ca7004aaeb1dbe588d0510728a0bcd4ffbaa8c18dd878b5e2f73a4de12',
      },
    ],
  },
  {
    project: 'docker/cli',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'docker.io',
    version: '20.10.24+dfsg1-1+deb12u1',
    dockerfiles: [
      {
        name: 'docker-cli',
        path: 'cli/Dockerfile',
        context: 'cli',
        sha256: '5fb9ecfd8f92464c9a58c86bf85d906d89a89f4436e5ae72266a0476c32636fe',
        args: { VERSION: '20.10.24' },
      },
      {
        name: 'docker-cli-dev',
        path: 'cli/dockerfiles/Dockerfile.dev',
        context: 'cli',
        sha256: '092e9a806f0061fb30fcd96cf1c7a4ea65e44ba030324bbd4a97fca2240fb29b',
      },
      {
        name: 'docker-cli-notary',
        path: 'cli/e2e/testdata/Dockerfile.notary-server',
        sha256: '1fd5863ffb17ad872d0690a8187a9c947de2e423468b3cab477d0ca23fb3310c',
      },
    ],
  },
  {
    project: 'moby/moby',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'docker.io',
    version: '20.10.24+dfsg1-1+deb12u1',
    dockerfiles: [
      {
        name: 'moby-httpserver',
        path: 'moby-20.10.24/engine/contrib/httpserver/Dockerfile',
        sha256: 'ce4249967fc2fbfcc613c3cbd07ee10c545bf89ea73bfbd9dc5988efa0562c6d',
        made: { httpserver: 'made\n' },
      },
      {
        name: 'moby-ownership',
        path: 'moby-20.10.24/engine/integration/build/testdata/Dockerfile.TestBuildPreserveOwnership',
        sha256: 'b6d3b5639f10784e85d658b4d3b8e8af7094000dbd963fc0ce698619dc3016d2',
      },
      {
        name: 'moby-multi-stage',
        path: 'moby-20.10.24/engine/integration/build/testdata/Dockerfile.TestBuildMultiStageCopy',
        sha256: 'c50f06e4815be23b37813600d2418c953187415923365f93a9a31e5ccb9a2ee8',
      },
      {
        name: 'moby-nnp-test',
        path: 'moby-20.10.24/engine/contrib/nnp-test/Dockerfile',
        sha256: 'b97bb27900f2f1965a166e492125031cb818bc40c385627da4a673925e3e95ef',
        fetches: true,
        volatile: APT,
      },
      {
        name: 'moby-syscall-test',
        path: 'moby-20.10.24/engine/contrib/syscall-test/Dockerfile',
        sha256: 'd735c8837da1a526897fc5f3abeb7359eebec2d25e154a62c1861f8345586520',
        fetches: true,
        volatile: APT,
      },
    ],
  },
  {
    project: 'moby/libnetwork',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'docker.io',
    version: '20.10.24+dfsg1-1+deb12u1',
    dockerfiles: [
      {
        name: 'libnetwork',
        path: 'libnetwork/Dockerfile',
        sha256: '15afec169d972aa7defe249dd2471900f18abd794e53984485007fb24dbaa05c',
      },
      {
        name: 'libnetwork-support',
        path: 'libnetwork/support/Dockerfile',
        sha256: '9e26b1f9916048a2b0bc9d3ec8120f3034e5cbb0d6dd18e818cbf3b1d0adcad1',
      },
      {
        name: 'libnetwork-networkdb-test',
        path: 'libnetwork/cmd/networkdb-test/Dockerfile',
        sha256: '9bb0f90d6b4937906a46389016aaba075eada669a8dfe179bf4765872da79a45',
        made: { testMain: 'made\n' },
      },
    ],
  },
  {
    project: 'moby/swarmkit',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'docker.io',
    version: '20.10.24+dfsg1-1+deb12u1',
    dockerfiles: [
      {
        name: 'swarmkit',
        path: 'swarmkit/Dockerfile',
        sha256: 'fa18b0224e680d6c16e51578e6420449e154cf3aec2385d9e15031ca5a86c570',
      },
    ],
  },
  {
    project: 'etcd-io/etcd',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'etcd',
    version: '3.4.23-4',
    dockerfiles: [
      {
        name: 'etcd-release',
        path: 'Dockerfile-release',
        context: 'release',
        sha256: '31f5202e172f1a30bbfceef55a1b83ad37cdbd90999e9b80198e7a5c1c8d48db',
        made: { etcd: 'made\n', etcdctl: 'made\n' },
      },
      {
        name: 'etcd-dns-srv',
        path: 'tests/docker-dns-srv/Dockerfile',
        sha256: '0f24d3213ab8fedac3a703cb7d2945c1555b7bb5cd0bcb1d158f29b2ae897d87',
      },
    ],
  },
  {
    project: 'FreeRADIUS/freeradius-server',
    licence: 'GPL-2.0',
    kind: 'deb',
    package: 'freeradius',
    version: '3.2.1+dfsg-4+deb12u1',
    dockerfiles: [
      {
        name: 'freeradius-alpine',
        path: 'scripts/docker/alpine/Dockerfile',
        sha256: '005d4a386e8c3dfd8d5de33e64f395d65c9f2f0f3fe00375f702a3eef0c658d3',
      },
      {
        name: 'freeradius-debian',
        path: 'scripts/docker/debian11/Dockerfile',
        sha256: '5c23fb3ff520b6fb7328c30997f08a22e1e631a5889ba7391569bca10431df63',
      },
    ],
  },
  {
    project: 'CZ-NIC/knot-resolver',
    licence: 'GPL-3.0',
    kind: 'deb',
    package: 'knot-resolver',
    version: '5.6.0-1+deb12u1',
    dockerfiles: [
      {
        name: 'knot-resolver',
        path: 'Dockerfile',
        sha256: '98d53e9fd7b89a7964b381550367646169ba470fccfd3e98bdb369fa014b63e0',
      },
    ],
  },
  {
    project: 'containers/podman',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'libpod',
    version: '4.3.1+ds1-8+deb12u1',
    dockerfiles: [
      {
        name: 'podman-hello',
        path: 'contrib/hello/Containerfile',
        sha256: '274a0e11f3de956c3a668e5fe59d8503f946b76e4ce6ef16468bfd40de3dcc11',
      },
      {
        name: 'podman-remote',
        path: 'contrib/podmanremoteimage/Containerfile',
        context: '',
        sha256: '0aff2758d55dd267a576ada9b1a7c9fe60747c2ddddebd27fedee030eaecb4c7',
      },
      {
        name: 'podman-volumes',
        path: 'test/build/preserve-volumes/Dockerfile',
        sha256: '8bc41e5fe3f8a5aa26683b4761e916ae28d8398a8e7851e46063a5f334051756',
      },
      {
        name: 'podman-workdir-symlink',
        path: 'test/e2e/build/workdir-symlink/Dockerfile',
        sha256: '7a431a21b6dd03e304952e508874fb8978c63b6b0bb68448232b72ba54ffb8f0',
      },
    ],
  },
  {
    project: 'containers/skopeo',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'skopeo',
    version: '1.9.3+ds1-1',
    dockerfiles: [
      {
        name: 'skopeo',
        path: 'contrib/skopeoimage/stable/Containerfile',
        sha256: '0a58459429809765a2d7422875db543d16f49bacb9e6253847ad90a2c5571842',
      },
    ],
  },
  {
    project: 'containers/buildah',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'golang-github-containers-buildah',
    version: '1.28.2+ds1-3+deb12u1',
    dockerfiles: [
      {
        name: 'buildah-wildcard',
        path: 'tests/conformance/testdata/wildcard/Dockerfile',
        sha256: 'f5ec8e494c69f5a98357ee9bd2684738d1cdb67eed8c5d8cd9b6897b86abcf07',
      },
      {
        name: 'buildah-volumes',
        path: 'tests/conformance/testdata/volumerun/Dockerfile',
        sha256: '5f13bf8abdc9ed071f064da2e4cad71ec950fb31bbf36dfa2cacc32b906732d7',
      },
      {
        name: 'buildah-tar',
        path: 'tests/conformance/testdata/tar-g/Dockerfile',
        sha256: '45f7b6e8f6b31635e2974e920eec79cb4a1314d81bd159ad4e39538b397d715f',
      },
      {
        name: 'buildah-chown',
        path: 'tests/conformance/testdata/copychown/Dockerfile',
        sha256: '675f11a6f056e0978ba38421120d5718b097f0975e73489ce3ad608b03c187b8',
      },
    ],
  },
  {
    project: 'syncthing/syncthing',
    licence: 'MPL-2.0',
    kind: 'deb',
    package: 'syncthing',
    version: '1.19.2~ds1-1',
    dockerfiles: [
      {
        name: 'syncthing',
        path: 'Dockerfile',
        sha256: '8c175506224c0b42b52d5d23b024c93f3c41ee7d9d57fac04f1e6bb282b43030',
      },
      {
        name: 'syncthing-buildx',
        path: 'Dockerfile.buildx',
        sha256: '30df496ac9101e8a23b19069736dd9866a1ce91310c00100e9e267d250de1c60',
        made: { 'syncthing-linux-amd64': 'made\n' },
      },
    ],
  },
  {
    project: 'znc/znc',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'znc',
    version: '1.8.2-3.1+deb12u1',
    dockerfiles: [
      {
        name: 'znc',
        path: 'Dockerfile',
        sha256: '34a9b6d382e35cacb6f5cf00874836b8a067adc1fb995a59f3df24d91c0e8a24',
        official: 'znc',
        made: { 'docker/slim/entrypoint.sh': '#!/bin/sh\n', 'docker/full/10-build.sh': '#!/bin/sh\n' },
      },
    ],
  },
  {
    project: 'nats-io/nats-server',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'nats-server',
    version: '2.9.10-1',
    dockerfiles: [
      {
        name: 'nats-nightly',
        path: 'docker/Dockerfile.nightly',
        context: '',
        sha256: 'a5bd196995847d9508dd27069b8e2a0e3ad0da5a11f6807ec6c2cb9c41c6a1b2',
        official: 'nats',
        made: { 'nats-server': 'made\n' },
      },
    ],
  },
  {
    project: 'influxdata/influxdb',
    licence: 'MIT',
    kind: 'deb',
    package: 'influxdb',
    version: '1.6.7~rc0-1',
    dockerfiles: [
      {
        name: 'influxdb',
        path: 'Dockerfile',
        sha256: '71915200f029f14f5b96770ae6ae28da82fb1efad6fc130b7a109bc9463d67d3',
        official: 'influxdb',
      },
    ],
  },
  {
    project: 'prometheus/prometheus',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'prometheus',
    version: '2.42.0+ds-5+deb12u1',
    dockerfiles: [
      {
        name: 'prometheus',
        path: 'Dockerfile',
        sha256: 'd6e5e6779277a2ffc7d6868ad4f3156e60a37a4ef9efd7cc2e4cd7d76a362733',
        made: {
          '.build/linux-amd64/prometheus': 'made\n',
          '.build/linux-amd64/promtool': 'made\n',
          'npm_licenses.tar.bz2': 'made\n',
        },
      },
    ],
  },
  {
    project: 'hikhvar/mqtt2prometheus',
    licence: 'MIT',
    kind: 'deb',
    package: 'prometheus-mqtt-exporter',
    version: '0.1.7-1',
    dockerfiles: [
      {
        name: 'mqtt-exporter',
        path: 'Dockerfile',
        sha256: 'b4175aa5cd0a2301bed6ec68f2d1388ced049379fcc2cb2c7535747af523678c',
      },
    ],
  },
  {
    project: 'justwatchcom/sql_exporter',
    licence: 'MIT',
    kind: 'deb',
    package: 'prometheus-sql-exporter',
    version: '0.4.5-1',
    dockerfiles: [
      {
        name: 'sql-exporter',
        path: 'Dockerfile',
        sha256: '9da035c3ecb2cacb9a15dc428e0484e6d1d33bf6247da2ec10df51f31049d9fb',
      },
    ],
  },
  {
    project: 'CanonicalLtd/prometheus-openstack-exporter',
    licence: 'GPL-3.0',
    kind: 'deb',
    package: 'prometheus-openstack-exporter',
    version: '0.1.4-2.2',
    dockerfiles: [
      {
        name: 'openstack-exporter',
        path: 'Dockerfile',
        sha256: '112fee335959c6cada2a14730b623bdbb813f21d77f78fe8796d674d17c81260',
      },
    ],
  },
  {
    project: 'rabbitmq/rabbitmq-server',
    licence: 'MPL-2.0',
    kind: 'deb',
    package: 'rabbitmq-server',
    version: '3.10.8-1.1+deb12u1',
    dockerfiles: [
      {
        name: 'rabbitmq-django',
        path: 'deps/rabbitmq_auth_backend_http/examples/rabbitmq_auth_backend_django/Dockerfile',
        sha256: '1ac1cb044222966c84fcdaba5d08b527d257b2e5408c78dfc3bfd0479b00f2f4',
      },
    ],
  },
  {
    project: 'opencontainers/umoci',
    licence: 'Apache-2.0',
    kind: 'deb',
    package: 'umoci',
    version: '0.4.7+ds-3',
    dockerfiles: [
      { name: 'umoci', path: 'Dockerfile', sha256: '921ab89552e4bb3f5cd269a90883bea3955c0218fc02aa55ccacae66b8d7967f' },
    ],
  },
  {
    project: 'junegunn/fzf',
    licence: 'MIT',
    kind: 'deb',
    package: 'fzf',
    version: '0.38.0-1',
    dockerfiles: [
      { name: 'fzf', path: 'Dockerfile', sha256: '7cded730051a86ca898f0c219182f13dac5408190c10343404122cc4b5789053' },
    ],
  },
  {
    project: 'nghttp2/nghttp2',
    licence: 'MIT',
    kind: 'deb',
    package: 'nghttp2',
    version: '1.52.0-1+deb12u3',
    dockerfiles: [
      {
        name: 'nghttp2',
        path: 'docker/Dockerfile',
        sha256: '5b5feb54973decd8aeedf4e14fa1ed4e9a21b9d30669db477f2df20172d95e02',
      },
    ],
  },
  {
    project: 'krallin/tini',
    licence: 'MIT',
    kind: 'deb',
    package: 'tini',
    version: '0.19.0-1',
    dockerfiles: [
      { name: 'tini', path: 'Dockerfile', sha256: 'ee16849851003a4790b18a50b707e91c6bf786d5bf13d71a94be4b99bb81415a' },
    ],
  },
];
