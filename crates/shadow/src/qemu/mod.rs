//! What virtual machines are made with: QEMU as a value, its monitor, kernels, the initrd.
//!
//! | module | holds |
//! |---|---|
//! | [`accel`] | what runs a guest's processors here |
//! | [`machine`] | a virtual machine as a value, and the arguments QEMU makes it from |
//! | [`initrd`] | what it boots: the agent and the kernel's modules |
//! | [`kernel`] | which kernel boots it, and which of its modules it needs |
//! | [`child`] | a program of this machine, run for a bounded time |
//! | [`programs`] | the programs of this machine that are needed, and which package has them |
//! | [`qmp`] | its monitor |
//! | [`shelf`] | directories of things that are made once |

pub(crate) mod accel;
pub(crate) mod child;
pub(crate) mod initrd;
pub(crate) mod kernel;
pub(crate) mod machine;
pub(crate) mod programs;
pub(crate) mod qmp;
pub(crate) mod shelf;

#[cfg(test)]
mod tests;
