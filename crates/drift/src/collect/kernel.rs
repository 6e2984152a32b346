//! What the running kernel says of itself.

use std::path::Path;

use super::context::Context;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::config::KernelFact;
use crate::file;
use crate::reading::Reading;

/// Why a directory says nothing of a kernel.
pub(super) const NOT_RUNNING: &str = "no kernel runs in a directory";

/// A fact about the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    fact: KernelFact,
}

impl Kernel {
    pub(super) fn new(fact: KernelFact) -> Self {
        Self { fact }
    }
}

impl Source for Kernel {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        if !context.place.is_machine() {
            return Fact::unreadable(NOT_RUNNING);
        }
        let path = match self.fact {
            KernelFact::Release => "/proc/sys/kernel/osrelease",
            KernelFact::Cmdline => "/proc/cmdline",
            KernelFact::Modules => "/proc/modules",
            KernelFact::Tainted => "/proc/sys/kernel/tainted",
        };
        Fact::whole(match text(context, path) {
            Reading::Present(value) if self.fact == KernelFact::Modules => {
                let bytes = Reading::Present(value);
                Reading::text(modules(bytes.bytes().unwrap_or_default()))
            }
            // A kernel built without modules has none loaded.
            Reading::Absent if self.fact == KernelFact::Modules => Reading::text(""),
            reading => reading,
        })
    }
}

/// What one of the kernel's own files says.
pub(super) fn text(context: &Context, path: &str) -> Reading {
    match file::read(context.place.root(), Path::new(path), file::BYTES_MAX) {
        Ok(Some(bytes)) => Reading::text(bytes),
        Ok(None) => Reading::Absent,
        Err(reason) => Reading::Unreadable { why: reason.to_string() },
    }
}

/// Their names; who uses them, where they lie and whether they are still loading change by
/// themselves.
fn modules(listed: &[u8]) -> Vec<u8> {
    let name = |line: &[u8]| line.split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
    sorted(listed.split(|byte| *byte == b'\n').filter_map(name))
}

/// A set, as lines in order.
pub(super) fn sorted(lines: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut text = lines.join(&b'\n');
    if !text.is_empty() {
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_a_set_of_names() {
        let listed = b"veth 40960 0 - Live 0x0\nbridge 425984 1 br_netfilter, Live 0x0\n";
        assert_eq!(modules(listed), b"bridge\nveth\n");
        assert_eq!(modules(b""), b"");
    }
}
