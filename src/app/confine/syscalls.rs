//! seccomp: system calls that no server needs, and that a stranger inside one would, fail with EPERM.
//!
//! A list of what is denied, not of what is allowed: hooks and upgraded programs inherit it, and what
//! they need is not ours to know.

use std::collections::BTreeMap;

use seccompiler::{BackendError, BpfProgram, Error, SeccompAction, SeccompFilter, TargetArch};

use super::{Standing, standing};

/// EPERM.
const NOT_PERMITTED: u32 = 1;

/// Other processes' memory, other kernels and modules, file systems, namespaces, the clock, and large
/// parts of the kernel that we do not use.
const DENIED: [i64; 47] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Denies them from here on.
pub(super) fn refuse() -> Standing {
    let program = filter().map_err(Error::Backend);
    match program.and_then(|program| seccompiler::apply_filter(&program)) {
        // There is room for so many filters, one of each program that took another's place.
        Err(Error::Prctl(error) | Error::Seccomp(error))
            if error.raw_os_error() == Some(libc::ENOMEM) =>
        {
            Standing::Inherited
        }
        outcome => standing(outcome),
    }
}

fn filter() -> Result<BpfProgram, BackendError> {
    let denied: BTreeMap<_, _> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(NOT_PERMITTED);
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(denied, SeccompAction::Allow, refused, machine)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_denied_call_fails_also_for_root_and_the_rest_goes_on() {
        let outcome = std::thread::spawn(|| {
            assert!(matches!(refuse(), Standing::Stands));
            let read = std::fs::read("/proc/self/status");
            (std::os::unix::fs::chroot("/").map_err(|error| error.kind()), read.is_ok())
        });
        assert_eq!(outcome.join().unwrap(), (Err(ErrorKind::PermissionDenied), true));
    }
}
