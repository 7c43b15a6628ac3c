import { release } from 'node:os';
import { hostPlatform } from '../oci/platform.ts';
import { imagoVersion } from '../system/version.ts';

/** What `imago version` tells: this program, what runs it, and the machine. Fields as in `docker version --format`. */
export interface Versions {
  Version: string;
  NodeVersion: string;
  Os: string;
  Arch: string;
  KernelVersion: string;
}

export function readVersions(): Versions {
  const { os, architecture } = hostPlatform(process.arch);
  return {
    Version: imagoVersion(),
    NodeVersion: process.versions.node,
    Os: os,
    Arch: architecture,
    KernelVersion: release(),
  };
}
