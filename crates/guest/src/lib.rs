//! What runs inside a shadow.
//!
//! Invariants of this crate:
//! * whoever asks for a command trusts nothing that it, or the first process beside it, says;
//! * what a command left behind ends with it or with its view, whoever asked for it being gone or
//!   not.
//!
//! | module | holds |
//! |---|---|
//! | [`init`] | the first process of a view: runs commands, reaps |
//! | [`run`] | what it is asked for, and answers |
//! | [`exec`], [`users`] | one command: its rights, its user, its terminal |
//! | [`boot`] | a virtual machine's first process |
//! | [`order`], [`tunnel`] | what a virtual machine is asked for, and the way there |
//! | [`wire`], [`failure`] | messages with descriptors on a socket; why a step failed |
//! | [`network`] | what its network begins with, and its place in it |
//! | [`mounts`], [`netlink`], [`sys`] | small steps that the kernel takes |

pub mod boot;
pub mod exec;
pub mod failure;
pub mod init;
pub mod mounts;
pub mod netlink;
pub mod network;
pub mod order;
pub mod run;
pub mod sys;
pub mod tunnel;
pub mod users;
pub mod wire;

/// Where images keep systemd.
pub const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
