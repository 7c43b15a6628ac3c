/**
 * System calls that a container may make: Docker's default profile (moby/profiles, seccomp/default.json, 2025),
 * as data. Names that a kernel or libseccomp does not know are skipped by the runtime.
 */

/** Allowed for every container, whatever its capabilities. Grouped by what they are about. */
export const ALLOWED_CALLS: readonly string[] = words(`
  read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 readahead
  open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock ioctl
  lseek _llseek truncate truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64
  copy_file_range sendfile sendfile64 splice tee vmsplice sync syncfs fsync fdatasync sync_file_range cachestat
  stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64
  access faccessat faccessat2 chmod fchmod fchmodat fchmodat2 umask utime utimes futimesat utimensat utimensat_time64
  chown chown32 fchown fchown32 lchown lchown32 fchownat
  link linkat unlink unlinkat symlink symlinkat readlink readlinkat rename renameat renameat2
  mkdir mkdirat rmdir mknod mknodat chdir fchdir getcwd getdents getdents64 name_to_handle_at
  getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
  listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
  inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark listmount statmount
  io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64
  poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64
  epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
  eventfd eventfd2 signalfd signalfd4 pipe pipe2
  socketcall socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt
  send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
  brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall mseal
  memfd_create memfd_secret membarrier remap_file_pages map_shadow_stack pkey_alloc pkey_free pkey_mprotect
  fork vfork execve execveat exit exit_group wait4 waitid waitpid
  kill tkill tgkill pidfd_open pidfd_send_signal process_mrelease
  process_vm_readv process_vm_writev ptrace
  getpid getppid gettid getpgid getpgrp setpgid getsid setsid set_tid_address
  getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32
  getresuid getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32
  setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32
  capget capset prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
  getrlimit ugetrlimit setrlimit prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set
  sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
  sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
  sched_rr_get_interval sched_rr_get_interval_time64 sched_yield getcpu
  rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
  rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn pause alarm restart_syscall
  futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue set_robust_list get_robust_list rseq
  get_thread_area set_thread_area uretprobe riscv_hwprobe
  time times gettimeofday nanosleep clock_gettime clock_gettime64 clock_getres clock_getres_time64
  clock_nanosleep clock_nanosleep_time64 adjtimex clock_adjtime clock_adjtime64 getitimer setitimer
  timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
  timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
  ipc msgget msgctl msgsnd msgrcv semget semctl semop semtimedop semtimedop_time64 shmget shmctl shmat shmdt
  mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64
  uname sysinfo getrandom
`);

/** Allowed in addition where the container has the capability. */
export const CALLS_BY_CAPABILITY: Readonly<Record<string, readonly string[]>> = {
  CAP_DAC_READ_SEARCH: ['open_by_handle_at'],
  CAP_SYS_ADMIN: words(`
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
    sethostname setns syslog umount umount2 unshare`),
  CAP_SYS_BOOT: ['reboot'],
  CAP_SYS_CHROOT: ['chroot'],
  CAP_SYS_MODULE: ['delete_module', 'init_module', 'finit_module'],
  CAP_SYS_PACCT: ['acct'],
  CAP_SYS_PTRACE: ['kcmp', 'pidfd_getfd', 'process_madvise'],
  CAP_SYS_RAWIO: ['iopl', 'ioperm'],
  CAP_SYS_TIME: ['settimeofday', 'stime', 'clock_settime', 'clock_settime64'],
  CAP_SYS_TTY_CONFIG: ['vhangup'],
  CAP_SYS_NICE: ['get_mempolicy', 'mbind', 'set_mempolicy', 'set_mempolicy_home_node'],
  CAP_SYSLOG: ['syslog'],
  CAP_BPF: ['bpf'],
  CAP_PERFMON: ['perf_event_open'],
};

/** Allowed in addition on a machine of Node's `process.arch`. */
export const CALLS_BY_ARCHITECTURE: Readonly<Record<string, readonly string[]>> = {
  x64: ['arch_prctl', 'modify_ldt'],
  arm64: ['arm_fadvise64_64', 'arm_sync_file_range', 'sync_file_range2', 'breakpoint', 'cacheflush', 'set_tls'],
  ppc64: ['sync_file_range2', 'swapcontext'],
  s390x: ['s390_pci_mmio_read', 's390_pci_mmio_write', 's390_runtime_instr'],
  riscv64: ['riscv_flush_icache'],
};

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
