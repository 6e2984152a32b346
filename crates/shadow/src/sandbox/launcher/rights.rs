//! What may be done in a view, by profile.

use std::io;

use rustix::thread::CapabilitySet;

use super::filter::Filter;
use crate::sandbox::wire::Profile;

/// What a shadow's root may do within its own namespaces.
const SHADOW_RIGHTS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE);

/// A build step also makes device nodes (packages do), and has no packets of its own making:
/// it may be in the machine's own network.
const BUILDER_RIGHTS: CapabilitySet =
    SHADOW_RIGHTS.union(CapabilitySet::MKNOD).difference(CapabilitySet::NET_RAW);

/// An image's own systemd mounts, limits and looks after what it starts, within the shadow's
/// namespaces; its kernel is still the machine's.
const SYSTEM_RIGHTS: CapabilitySet = SHADOW_RIGHTS
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::IPC_OWNER)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::SYS_TTY_CONFIG);

/// Confines an init and all it will start: what no command may regain, and which system calls
/// none may make. Done once, since each costs more than starting a command.
pub(super) fn confine(profile: Profile) -> io::Result<()> {
    for right in CapabilitySet::all().difference(rights_of(profile)).iter() {
        match rustix::thread::remove_capability_from_bounding_set(right) {
            // Kernels know fewer capabilities than the library.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if profile != Profile::Builder {
        rustix::thread::set_no_new_privs(true)?;
    }
    Filter::compiled().install(profile)
}

pub(super) fn rights_of(profile: Profile) -> CapabilitySet {
    match profile {
        Profile::Shadow => SHADOW_RIGHTS,
        Profile::Builder => BUILDER_RIGHTS,
        Profile::System => SYSTEM_RIGHTS,
    }
}
