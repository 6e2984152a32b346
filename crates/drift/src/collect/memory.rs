//! How much memory a machine has left.

use super::context::Context;
use super::kernel::{NOT_RUNNING, text};
use super::room::percent;
use super::secret::Secrecy;
use super::source::{Fact, Source};
use crate::config::MemoryFact;
use crate::reading::Reading;

/// A fact of the memory.
#[derive(Debug)]
pub(super) struct Memory {
    fact: MemoryFact,
}

impl Memory {
    pub(super) fn new(fact: MemoryFact) -> Self {
        Self { fact }
    }
}

impl Source for Memory {
    fn read(&mut self, context: &mut Context, _: &Secrecy) -> Vec<Fact> {
        if !context.place.is_machine() {
            return Fact::unreadable(NOT_RUNNING);
        }
        let table = text(context, "/proc/meminfo");
        let Some(bytes) = table.bytes() else { return Fact::whole(table) };
        match value(&String::from_utf8_lossy(bytes), self.fact) {
            Some(value) => Fact::whole(Reading::text(format!("{value}\n"))),
            None => Fact::unreadable("the kernel does not say how much there is"),
        }
    }
}

/// Of lines such as `MemAvailable:    1234 kB`.
fn value(table: &str, fact: MemoryFact) -> Option<String> {
    let bytes = |name: &str| {
        let mut lines = table.lines().filter_map(|line| line.split_once(':'));
        let (_, amount) = lines.find(|(found, _)| *found == name)?;
        let kib: u64 = amount.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib.saturating_mul(1024))
    };
    Some(match fact {
        MemoryFact::AvailablePercent => percent(bytes("MemAvailable")?, bytes("MemTotal")?),
        MemoryFact::Available => bytes("MemAvailable")?.to_string(),
        MemoryFact::SwapUsed => {
            let total = bytes("SwapTotal")?;
            percent(total.saturating_sub(bytes("SwapFree")?), total)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "MemTotal:        2000 kB\nMemFree:  100 kB\nMemAvailable:    500 kB\n\
                         SwapTotal:  0 kB\nSwapFree:  0 kB\nHugePages_Total:  0\n";

    #[track_caller]
    fn check(table: &str, fact: MemoryFact, expected: Option<&str>) {
        assert_eq!(value(table, fact).as_deref(), expected);
    }

    #[test]
    fn the_table_is_read_by_name() {
        check(TABLE, MemoryFact::AvailablePercent, Some("25.0000"));
        check(TABLE, MemoryFact::Available, Some("512000"));
        check(TABLE, MemoryFact::SwapUsed, Some("0.0000"));
        check("SwapTotal: 8 kB\nSwapFree: 2 kB", MemoryFact::SwapUsed, Some("75.0000"));
        for broken in ["", "MemTotal: 1 kB", "MemAvailable: x kB\nMemTotal: 1 kB", "MemAvailable"] {
            check(broken, MemoryFact::AvailablePercent, None);
        }
    }
}
