//! The system calls that the running service makes, and a filter in the kernel that lets through
//! no others: no programs, no other processes, no mounts, nobody else's memory.
//!
//! What is not let through fails with `ENOSYS`, as on a kernel that is too old for it: C libraries
//! know what to do then. The filter is for processors where the service was run with it.

use libc::{c_long, c_ulong};

use super::Error;

// `AUDIT_ARCH_…` of <linux/audit.h>: the number of the processor in ELF, with bits for 64 bits and
// little-endian.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "x86")]
const ARCH: u32 = 0x4000_0003;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;
#[cfg(target_arch = "arm")]
const ARCH: u32 = 0x4000_0028;
#[cfg(all(target_arch = "mips", target_endian = "big"))]
const ARCH: u32 = 0x0000_0008;
#[cfg(all(target_arch = "mips", target_endian = "little"))]
const ARCH: u32 = 0x4000_0008;
/// All processors have these. Those of the packet path stand first: a kernel before 5.11 goes
/// through the list at each call.
const EVERYWHERE: &[c_long] = &[
    libc::SYS_epoll_pwait,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_clock_gettime,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_readv,
    libc::SYS_writev,
    // Sockets.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Files and devices.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    PREAD64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_umask,
    libc::SYS_getcwd,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Time, signals, itself, the end.
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_wait4,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Of before there were calls with a directory's descriptor: all but the youngest processors.
#[cfg(not(target_arch = "aarch64"))]
const OLD: &[c_long] = &[
    libc::SYS_epoll_wait,
    libc::SYS_epoll_create,
    libc::SYS_poll,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_getdents,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_access,
    libc::SYS_readlink,
];
#[cfg(target_arch = "aarch64")]
const OLD: &[c_long] = &[];

/// With 64 bits.
#[cfg(target_pointer_width = "64")]
const WIDE: &[c_long] = &[libc::SYS_mmap, libc::SYS_newfstatat];
/// With 32 bits: for files above 2 GiB, for times after 2038.
#[cfg(target_pointer_width = "32")]
const WIDE: &[c_long] = &[
    libc::SYS_mmap2,
    libc::SYS_fcntl64,
    libc::SYS__llseek,
    libc::SYS_fstat64,
    libc::SYS_stat64,
    libc::SYS_lstat64,
    FSTATAT64,
    libc::SYS_ftruncate64,
    libc::SYS_sigreturn,
    // clock_gettime64, clock_getres_time64, clock_nanosleep_time64, ppoll_time64,
    // recvmmsg_time64, futex_time64: the same on all.
    UNIFIED + 403,
    UNIFIED + 406,
    UNIFIED + 407,
    UNIFIED + 414,
    UNIFIED + 417,
    UNIFIED + 422,
];
// libc does not name them for MIPS.
#[cfg(not(target_arch = "mips"))]
const PREAD64: c_long = libc::SYS_pread64;
#[cfg(target_arch = "mips")]
const PREAD64: c_long = 4200;
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const FSTATAT64: c_long = libc::SYS_fstatat64;
#[cfg(target_arch = "mips")]
const FSTATAT64: c_long = 4293;

/// Where the numbers start that all processors share.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const UNIFIED: c_long = 0;
#[cfg(target_arch = "mips")]
const UNIFIED: c_long = 4000;

/// One processor's own.
#[cfg(target_arch = "x86_64")]
const OWN: &[c_long] = &[libc::SYS_time, libc::SYS_rseq];
#[cfg(target_arch = "x86")]
const OWN: &[c_long] = &[
    libc::SYS_time,
    libc::SYS_socketcall,
    libc::SYS_chown32,
    libc::SYS_getuid32,
    libc::SYS_geteuid32,
    libc::SYS_getgid32,
    libc::SYS_getegid32,
];
#[cfg(target_arch = "arm")]
const OWN: &[c_long] = &[
    // glibc's send and recv.
    libc::SYS_send,
    libc::SYS_recv,
    libc::SYS_chown32,
    libc::SYS_getuid32,
    libc::SYS_geteuid32,
    libc::SYS_getgid32,
    libc::SYS_getegid32,
];
#[cfg(target_arch = "mips")]
const OWN: &[c_long] = &[libc::SYS_socketcall, libc::SYS_send, libc::SYS_recv];
#[cfg(target_arch = "aarch64")]
const OWN: &[c_long] = &[];

// Each jump to the end has to fit into 8 bits.
const _: () = assert!(EVERYWHERE.len() + OLD.len() + WIDE.len() + OWN.len() < 255);

// Classic BPF over `struct seccomp_data`: number of the call at 0, processor at 4, arguments of 64
// bits from 16 on.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
/// The half that counts of the second argument.
const REQUEST_AT: u32 = if cfg!(target_endian = "big") { 28 } else { 24 };
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Requests to a terminal that would be commands to the shell of whoever started the service.
const TYPING: [u32; 2] = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

/// The program for one processor: its number, then each call in turn.
fn program(arch: u32, calls: impl Iterator<Item = c_long>) -> Vec<libc::sock_filter> {
    let calls: Vec<u32> = calls.filter_map(|call| u32::try_from(call).ok()).collect();
    // Steps from each call to the last one, which lets it through.
    let to_end = (1..=calls.len()).rev();
    let mut steps = vec![
        step(LOAD, ARCH_AT, 0, 0),
        step(IF_EQUAL, arch, 1, 0),
        step(RETURN, DENIED, 0, 0),
        step(LOAD, NUMBER_AT, 0, 0),
        step(IF_EQUAL, libc::SYS_ioctl as u32, 0, 5),
        step(LOAD, REQUEST_AT, 0, 0),
        step(IF_EQUAL, TYPING[0], 2, 0),
        step(IF_EQUAL, TYPING[1], 1, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(RETURN, DENIED, 0, 0),
    ];
    for (call, far) in calls.into_iter().zip(to_end) {
        steps.push(step(IF_EQUAL, call, u8::try_from(far).unwrap_or(0), 0));
    }
    steps.push(step(RETURN, DENIED, 0, 0));
    steps.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    steps
}

fn calls() -> impl Iterator<Item = c_long> {
    [EVERYWHERE, OLD, WIDE, OWN].into_iter().flatten().copied()
}

/// This processor has a list.
pub const IS_THERE: bool = true;

/// From now on this process makes the calls of the running service and no others. It must not be
/// able to get new rights any more.
pub fn install() -> Result<(), Error> {
    const FILTER: c_ulong = libc::SECCOMP_MODE_FILTER as c_ulong;
    let mut steps = program(ARCH, calls());
    let whole = libc::sock_fprog {
        len: u16::try_from(steps.len()).unwrap_or(0),
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program lives for the call; the kernel copies it.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, FILTER, &raw const whole) };
    super::check(&"prctl", done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call.
    fn verdict(steps: &[libc::sock_filter], arch: u32, call: u32, request: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = &steps[at];
            at += 1;
            match step.code {
                LOAD if step.k == ARCH_AT => loaded = arch,
                LOAD if step.k == REQUEST_AT => loaded = request,
                LOAD => loaded = call,
                IF_EQUAL if loaded == step.k => at += usize::from(step.jt),
                IF_EQUAL => at += usize::from(step.jf),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn the_calls_of_the_list_pass_and_no_others() {
        let steps = program(ARCH, calls());
        let ioctl = u32::try_from(libc::SYS_ioctl).expect("a number");
        let mut listed: Vec<u32> = calls().filter_map(|c| u32::try_from(c).ok()).collect();
        listed.push(ioctl);
        for call in 0..5000 {
            let passes = verdict(&steps, ARCH, call, 0) == libc::SECCOMP_RET_ALLOW;
            assert_eq!(passes, listed.contains(&call), "{call}");
            assert_eq!(verdict(&steps, ARCH ^ 1, call, 0), DENIED);
        }
        for request in TYPING {
            assert_eq!(verdict(&steps, ARCH, ioctl, request), DENIED);
        }
        for call in [libc::SYS_execve, libc::SYS_clone, libc::SYS_ptrace] {
            assert!(!calls().any(|c| c == call));
        }
    }

    #[test]
    fn no_call_is_named_twice() {
        let mut all: Vec<c_long> = calls().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
