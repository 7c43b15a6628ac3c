/** The images that Dockerfiles of public projects start from, made of Debian's packages under the originals' names. */
import type { Store } from '../../src/store/store.ts';
import { importRoot, type Peer } from './peer.ts';
import type { RootName, Roots } from './public-roots.ts';

const BIN = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const GO = ['ENV GOPATH=/go', `ENV PATH=/go/bin:/usr/local/go/bin:${BIN}`, 'WORKDIR /go'];

interface Base {
  root: RootName;
  changes?: string[];
  names: string[];
}

const BASES: Base[] = [
  {
    root: 'busybox',
    changes: ['CMD ["sh"]'],
    names: [
      'alpine',
      'alpine:3.10',
      'alpine:3.11',
      'alpine:3.13',
      'alpine:3.16',
      'busybox',
      'busybox:1.34.1',
      'docker:18-dind',
      'gcr.io/distroless/base-debian11',
      'gcr.io/distroless/static-debian10:nonroot',
      'nginx:1.9',
      'node:12.8.3',
      'node:18-alpine3.16',
      'node:20-bookworm-slim',
      'notary:server-0.5.0',
      'python:2.7-alpine',
      'python:3.7-alpine',
      'quay.io/prometheus/busybox-linux-amd64',
    ],
  },
  {
    root: 'busybox',
    changes: GO,
    names: [
      'golang:1.17-alpine',
      'golang:1.18-alpine',
      'golang:1.19-alpine',
      'golang:1.19.7-alpine',
      'golang:1.19.7-alpine3.16',
      'golang:1.19.9-alpine3.16',
    ],
  },
  {
    root: 'debian',
    changes: ['CMD ["bash"]'],
    names: [
      'archlinux',
      'centos:7',
      'debian:11',
      'debian:11-slim',
      'debian:bullseye',
      'debian:stretch',
      'fedora:28',
      'mcr.microsoft.com/devcontainers/base:bookworm',
      'public.ecr.aws/sam/build-provided.al2023',
      'public.ecr.aws/sam/build-python3.7',
      'registry.access.redhat.com/ubi8/go-toolset',
      'registry.fedoraproject.org/fedora',
      'registry.opensuse.org/opensuse/leap',
      'ubuntu:14.04',
      'ubuntu:17.10',
      'ubuntu:xenial',
    ],
  },
  {
    root: 'debian',
    changes: GO,
    names: [
      'golang',
      'golang:1.10.6',
      'golang:1.12.9-stretch',
      'golang:1.18.9-buster',
      'golang:1.19',
      'golang:1.19.7-buster',
    ],
  },
  { root: 'xx', names: ['dockercore/golang-cross:xx-sdk-extras', 'tonistiigi/xx:1.1.0', 'tonistiigi/xx:1.2.1'] },
];

/** Gives both engines all of them. */
export async function importPublicBases(store: Store, peer: Peer, roots: Roots): Promise<void> {
  for (const { root, changes, names } of BASES) await importRoot(store, peer, roots[root], names, changes);
}
