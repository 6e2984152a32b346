//! The way between this machine and what runs in a virtual one: messages with descriptors at both
//! ends, one byte stream in between (virtio-serial).
//!
//! ```text
//!   caller ── RunRequest, pipes ──> host ═══ frames ═══> guest ── RunRequest, pipes ──> init
//! ```
//!
//! Neither end waits for anything but bytes; what nobody takes is not read ([`frame::WINDOW`]), so
//! that a caller who does not read stops one command and nothing else.

mod channel;
pub mod frame;
pub mod guest;
pub mod host;
mod link;
mod stream;
#[cfg(test)]
mod tests;
