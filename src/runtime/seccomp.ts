import { ALLOWED_CALLS, CALLS_BY_ARCHITECTURE, CALLS_BY_CAPABILITY } from './seccomp-calls.ts';
import type { Seccomp, SeccompRule } from './spec-types.ts';

/**
 * The native architecture and its 32-bit one. x32 is left out, unlike in Docker's profile: distribution kernels do
 * not have it, and each architecture costs every start some milliseconds.
 */
const ARCHITECTURES: Readonly<Record<string, string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
  riscv64: ['SCMP_ARCH_RISCV64'],
  s390x: ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390'],
  ppc64: ['SCMP_ARCH_PPC64LE'],
  loong64: ['SCMP_ARCH_LOONGARCH64'],
};

const ENOSYS = 38;
const EPERM = 1;
/** Every CLONE_NEW* flag but CLONE_NEWTIME, which has no room in clone(2). */
const NAMESPACE_FLAGS = 0x7e020000;
const AF_ALG = 38;
const AF_VSOCK = 40;
/** Linux, Linux 32 bit, both with uname 2.6, and the query (personality(2)). */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/** Docker's default seccomp profile for a container with these capabilities; `arch` is Node's name. */
export function defaultSeccomp(capabilities: readonly string[], arch: string = process.arch): Seccomp {
  const has = new Set(capabilities);
  const names = new Set([...ALLOWED_CALLS, ...(CALLS_BY_ARCHITECTURE[arch] ?? [])]);
  for (const [capability, calls] of Object.entries(CALLS_BY_CAPABILITY)) {
    if (has.has(capability)) for (const call of calls) names.add(call);
  }
  const rules: SeccompRule[] = [{ names: [...names], action: 'SCMP_ACT_ALLOW' }];
  // Sockets to the kernel's crypto and to the hypervisor are refused.
  rules.push(
    argumentRule('socket', 0, 'SCMP_CMP_LT', AF_ALG),
    argumentRule('socket', 0, 'SCMP_CMP_EQ', AF_ALG + 1),
    argumentRule('socket', 0, 'SCMP_CMP_GT', AF_VSOCK),
  );
  for (const value of PERSONALITIES) rules.push(argumentRule('personality', 0, 'SCMP_CMP_EQ', value));
  if (!has.has('CAP_SYS_ADMIN')) {
    // No new namespaces. clone3 has its flags in memory, where a filter cannot look: libraries fall back on ENOSYS.
    const index = arch === 's390x' ? 1 : 0;
    rules.push({
      names: ['clone'],
      action: 'SCMP_ACT_ALLOW',
      args: [{ index, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
    });
    rules.push({ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS });
  }
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: ARCHITECTURES[arch] ?? [],
    syscalls: rules,
  };
}

function argumentRule(name: string, index: number, op: string, value: number): SeccompRule {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [{ index, value, op }] };
}
