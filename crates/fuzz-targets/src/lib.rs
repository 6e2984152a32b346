//! Fuzz targets: one per parser of foreign bytes, with the law it keeps whatever the bytes.
//!
//! A target runs in three places, always the same body:
//!
//! | where | input | length |
//! |---|---|---|
//! | `cargo xtask test` (`tests/short.rs`) | seeds, and mutations numbered from 0 | a few seconds, the same every time |
//! | `cargo xtask bench fuzz [TARGET] [SECONDS]` (`main.rs`) | the same sequence, much further | as long as wanted |
//! | `cargo +nightly fuzz run TARGET` (`fuzz/`) | what coverage leads to | as long as wanted |
//!
//! Invariants:
//! * no input makes a parser panic, overflow its stack or take [`run::PATIENCE`];
//! * what a parser holds is bounded by its input's length ([`Target::heap_factor`]);
//! * each target asserts what its parser promises besides: see its function.
//!
//! | module | holds |
//! |---|---|
//! | [`api`], [`capture`], [`compare`], [`disk`], [`drift`], [`gateway`], [`judge`], [`recipe`], [`rollout`], [`shadow`], [`store`], [`suite`], [`traffic`] | the targets |
//! | [`seeds`] | inputs to begin with: fixtures, and `fuzz/corpus` |
//! | [`mutate`] | the next input |
//! | [`run`], [`heap`] | trying a target, and measuring it |

pub mod api;
pub mod capture;
pub mod compare;
pub mod disk;
pub mod drift;
pub mod gateway;
pub mod heap;
pub mod judge;
pub mod mutate;
pub mod recipe;
pub mod rollout;
pub mod run;
pub mod seeds;
pub mod shadow;
pub mod store;
pub mod suite;
pub mod traffic;

/// Takes one input and panics where the law is broken. Says whether the parser accepted it.
pub type Body = Box<dyn FnMut(&[u8]) -> bool>;

/// A parser under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also of its corpus and of its cargo-fuzz binary.
    pub name: &'static str,
    /// Makes what takes inputs.
    pub open: fn() -> Body,
    /// Inputs to begin with, beside the recorded ones.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces that mean something to the parser.
    pub words: &'static [&'static str],
    /// How many mutations the short form tries.
    pub cases: u64,
    /// The most bytes it may hold for one byte of input, beside [`run::HEAP_BASE`].
    pub heap_factor: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    api::FRAMES,
    api::EVENT,
    recipe::RECIPE,
    store::IMAGE,
    store::TAR,
    store::OCI,
    disk::ROOT,
    disk::FSTAB,
    suite::TAP,
    suite::JUNIT,
    suite::GOSS,
    suite::OPENSCAP,
    suite::LYNIS,
    suite::URL,
    suite::JSON_PATH,
    suite::ACCOUNTS,
    suite::SOCKETS,
    suite::PACKAGES,
    drift::MONITORING,
    drift::IMPORT,
    drift::FORMAT,
    drift::WIRE,
    drift::CERTIFICATE,
    drift::LINES,
    gateway::HEAD,
    gateway::MIRROR,
    gateway::PERCENTAGE,
    gateway::UPSTREAM,
    gateway::ROUTES,
    gateway::PROXY_HEADER,
    compare::ANSWERS,
    capture::CAPTURE,
    capture::GOR,
    capture::HAR,
    capture::START,
    judge::JOURNAL,
    traffic::PACKET,
    traffic::TRAFFIC,
    rollout::ROLLOUT,
    rollout::CONDITION,
    rollout::ANSWER,
    shadow::QMP,
    shadow::TUNNEL,
    shadow::KERNEL,
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// cargo-fuzz wants a binary for each: none may be forgotten, or stay behind.
    #[test]
    fn every_target_is_one_of_cargo_fuzz() {
        let manifest = include_str!("../../../fuzz/Cargo.toml");
        let mut binaries: Vec<&str> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
            .collect();
        let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        binaries.sort_unstable();
        names.sort_unstable();
        assert_eq!(binaries, names);
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
        for name in names {
            let text = std::fs::read_to_string(dir.join(format!("{name}.rs"))).expect(name);
            assert!(text.contains(&format!("attempt(\"{name}\", bytes)")), "{name}");
        }
    }
}
