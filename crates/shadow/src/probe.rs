//! What this machine has of what `umbra` uses, found by trying where that is cheap, with what
//! it costs to lack it and how to get it. Works without root and reports what that lacks.

mod kernel;
mod machines;
mod mounts;
mod system;

use std::path::Path;

pub use machines::{Machines, check_guest};
use serde::{Deserialize, Serialize};

/// One capability of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What it is.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What lacking it costs.
    pub cost: String,
    /// How to get it.
    pub fix: String,
}

/// What one attempt found: the good or the bad news.
type Found = Result<String, String>;

/// Looks at everything. `store` is where states are kept, or will be; its nearest existing
/// parent stands for it. Takes some tens of milliseconds and leaves nothing behind.
pub fn report(store: &Path, machines: &Machines) -> Vec<Probe> {
    let dir = store.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let mut probes = system::probes(dir);
    probes.extend(kernel::probes());
    probes.extend(mounts::probes(dir));
    probes.extend(machines::probes(machines));
    probes
}

fn probe(name: &str, found: Found, cost: &str, fix: &str) -> Probe {
    let ok = found.is_ok();
    let detail = found.unwrap_or_else(|bad| bad);
    Probe { name: name.to_owned(), ok, detail, cost: cost.to_owned(), fix: fix.to_owned() }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// For what cannot be tried by others.
fn needs_root() -> Found {
    Err("not tried: needs root".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines(dir: &Path) -> Machines {
        let guest = dir.join("umbra-guest");
        Machines { kernel: None, guest, translate: false, cache: dir.join("kernels") }
    }

    #[test]
    fn everything_is_reported_once_with_its_cost() {
        let dir = tempfile::tempdir().expect("a directory");
        let probes = report(&dir.path().join("not/yet/there"), &machines(dir.path()));
        let mut names: Vec<&str> = probes.iter().map(|probe| probe.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), probes.len());
        assert!(names.len() >= 20, "{names:?}");
        for probe in &probes {
            assert!(!probe.detail.is_empty(), "{}", probe.name);
            assert!(!probe.cost.is_empty() && !probe.fix.is_empty(), "{}", probe.name);
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0, "it left something");
    }

    #[test]
    fn what_needs_root_is_there_for_root() {
        if !is_root() {
            println!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["root", "overlay features", "network namespaces", "user namespaces"] {
            let probes = report(dir.path(), &machines(dir.path()));
            let found = probes.iter().find(|probe| probe.name == name).expect("a probe");
            assert!(found.ok, "{name}: {}", found.detail);
        }
    }
}
