//! A Debian system to put on disks, and machines to boot them on.

pub(crate) mod debian;
pub(crate) mod machine;
