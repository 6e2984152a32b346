//! The provider that makes shadows virtual machines: a kernel of their own, and inside it the same
//! first process as a sandbox's.
//!
//! ```text
//!   provider ──> launcher ──fork──> keeper     shows roots in a directory, owns the tap
//!      │                              ├── virtiofsd   serves the directory to the guest
//!      └═══ line (virtio-serial) ═════╪══ QEMU ── guest: umbra-guest ── init of a view
//!                                     └── nothing else: all of it ends with the keeper
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `provider`, `shadow`, `show` | the provider, and a machine as a shadow |
//! | `power`, `templates` | a machine that runs; machines that others are forked from |
//! | `line`, `memory`, `inherited` | the line to a guest; its memory; what its programs inherit |
//! | `accel` | what runs a guest's processors here |
//! | `machine` | a virtual machine as a value, and the arguments QEMU makes it from |
//! | `initrd` | what it boots: the agent and the kernel's modules |
//! | `kernel` | which kernel boots it, and which of its modules it needs |
//! | `child` | a program of this machine, run for a bounded time |
//! | `programs` | the programs of this machine that are needed, and which package has them |
//! | `qmp` | its monitor |
//! | `shelf` | directories of things that are made once |

pub(crate) mod accel;
pub(crate) mod child;
pub(crate) mod inherited;
pub(crate) mod initrd;
pub(crate) mod kernel;
mod line;
pub(crate) mod machine;
mod memory;
mod power;
pub(crate) mod programs;
pub mod provider;
pub(crate) mod qmp;
mod shadow;
pub(crate) mod shelf;
mod show;
mod templates;

pub use provider::{QemuConfig, QemuProvider, reap};

#[cfg(test)]
mod tests;
