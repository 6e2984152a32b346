//! System calls that no program in a view has business with: those that change the machine's
//! kernel, and those whose history is one of escapes.
//!
//! The list denies rather than allows: an image runs whatever its users put in it, and a shadow
//! in which an ordinary program fails proves nothing about the image.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::sandbox::wire::Profile;

/// `open_tree_attr`, which libc does not name yet; the number is the same everywhere.
const SYS_OPEN_TREE_ATTR: i64 = 467;

/// On x86-64 every call has a second number, for the x32 interface, that kernels may serve.
const X32: Option<i64> = if cfg!(target_arch = "x86_64") { Some(0x4000_0000) } else { None };

/// The families of sockets that programs need. The others are not confined by a network
/// namespace (vsock reaches the hypervisor) or load kernel modules at a program's wish.
const SOCKET_FAMILIES: [i32; 5] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

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
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    // The kernel log is the machine's, and unprivileged on many.
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Refused as well, except where an image's own systemd has to arrange its namespaces: it needs
/// a right no other command has, and refusing it keeps the code behind it out of reach.
const ARRANGING: &[i64] = &[
    libc::SYS_setns,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_pivot_root,
    libc::SYS_umount2,
];

/// Flags of `clone` and `unshare` that would make a namespace in which the caller is root.
const NEW_USER_NAMESPACE: u64 = libc::CLONE_NEWUSER as u64;

/// A compiled filter, made once per launcher and inherited by all it forks.
#[derive(Debug)]
pub(super) struct Filter {
    /// For everybody.
    programs: Result<Vec<BpfProgram>, String>,
    /// For all but images' own systems.
    arranging: Result<BpfProgram, String>,
}

impl Filter {
    /// The one filter of this process and its forks, compiled at the first call.
    pub(super) fn compiled() -> &'static Self {
        static COMPILED: OnceLock<Filter> = OnceLock::new();
        COMPILED.get_or_init(|| {
            let programs = [unavailable(), foreign_sockets(), refusing()];
            let programs = programs.into_iter().collect::<Result<_, _>>();
            Self {
                programs: programs.map_err(|error| error.to_string()),
                arranging: refusing_calls(ARRANGING).map_err(|error| error.to_string()),
            }
        })
    }

    /// Applies the filter to this process and all it starts. Needs CAP_SYS_ADMIN or
    /// `no_new_privs`.
    pub(super) fn install(&self, profile: Profile) -> io::Result<()> {
        let unusable = |reason: &String| io::Error::other(reason.clone());
        let arranging = match profile {
            Profile::Builder | Profile::Shadow => Some(self.arranging.as_ref()),
            Profile::System => None,
        };
        let arranging = arranging.transpose().map_err(unusable)?;
        for program in self.programs.as_ref().map_err(unusable)?.iter().chain(arranging) {
            seccompiler::apply_filter(program).map_err(|error| match error {
                seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
                other => io::Error::other(other.to_string()),
            })?;
        }
        Ok(())
    }
}

fn refusing_calls(calls: &[i64]) -> Result<BpfProgram, seccompiler::BackendError> {
    compile(calls.iter().map(|call| (*call, Vec::new())).collect(), libc::EPERM)
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
    // Typing into a terminal on its owner's behalf.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| {
        let equal = SeccompCmpOp::Eq;
        SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, equal, request)?])
    });
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    compile(rules, libc::EPERM)
}

fn foreign_sockets() -> Result<BpfProgram, seccompiler::BackendError> {
    let other = SOCKET_FAMILIES.iter().map(|family| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *family as u64)
    });
    let other = SeccompRule::new(other.collect::<Result<_, _>>()?)?;
    let rules = [libc::SYS_socket, libc::SYS_socketpair].map(|call| (call, vec![other.clone()]));
    compile(rules.into(), libc::EAFNOSUPPORT)
}

/// `clone3` hides its flags from filters; without it programs fall back to `clone`.
fn unavailable() -> Result<BpfProgram, seccompiler::BackendError> {
    compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn compile(
    mut rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
) -> Result<BpfProgram, seccompiler::BackendError> {
    if let Some(x32) = X32 {
        let doubled: Vec<_> =
            rules.iter().map(|(call, rules)| (call | x32, rules.clone())).collect();
        rules.extend(doubled);
        // ioctl is one of the few with a number of its own there.
        if let Some(ioctl) = rules.get(&libc::SYS_ioctl).cloned() {
            rules.insert(x32 | 514, ioctl);
        }
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let action = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, action, arch)?.try_into()
}
