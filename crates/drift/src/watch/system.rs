//! What of a system changes without a file: its network, its clock.

pub mod clock;
pub mod netlink;
