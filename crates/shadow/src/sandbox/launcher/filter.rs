//! System calls that no program in a view has business with: those that change the machine's
//! kernel, and those whose history is one of escapes.
//!
//! The list denies rather than allows: an image runs whatever its users put in it, and a shadow
//! in which an ordinary program fails proves nothing about the image.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::sandbox::wire::Profile;

/// Refused with "operation not permitted".
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    // Mounting needs a right no command has; refusing it here keeps the code behind it out of
    // reach as well.
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_umount2,
];

/// Flags of `clone` and `unshare` that would make a namespace in which the caller is root.
const NEW_USER_NAMESPACE: u64 = libc::CLONE_NEWUSER as u64;

/// A compiled filter, made once per view.
pub(super) struct Filter {
    refused: Result<BpfProgram, String>,
    unavailable: Result<BpfProgram, String>,
}

impl Filter {
    pub(super) fn for_profile(_profile: Profile) -> Self {
        Self { refused: refusing().map_err(|e| e.to_string()), unavailable: unavailable() }
    }

    /// Applies the filter to this process and all it starts. Needs CAP_SYS_ADMIN or
    /// `no_new_privs`.
    pub(super) fn install(&self) -> io::Result<()> {
        for program in [&self.unavailable, &self.refused] {
            let program = program.as_ref().map_err(|reason| io::Error::other(reason.clone()))?;
            seccompiler::apply_filter(program).map_err(|error| match error {
                seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
                other => io::Error::other(other.to_string()),
            })?;
        }
        Ok(())
    }
}

fn refusing() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        let flag = SeccompCmpOp::MaskedEq(NEW_USER_NAMESPACE);
        let condition =
            SeccompCondition::new(0, SeccompCmpArgLen::Qword, flag, NEW_USER_NAMESPACE)?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
    }
    let typed = SeccompCondition::new(
        1,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        libc::TIOCSTI,
    )?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![typed])?]);
    compile(rules, libc::EPERM)
}

/// `clone3` hides its flags from filters; without it programs fall back to `clone`.
fn unavailable() -> Result<BpfProgram, String> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, libc::ENOSYS).map_err(|error| error.to_string())
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let action = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()
}
