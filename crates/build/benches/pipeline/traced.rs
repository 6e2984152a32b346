//! Counts the system calls on unchanged files while a delta goes to a shadow: this program runs
//! itself under strace, launcher, keepers and inits included, between two marks.

use std::fs;
use std::process::{Command as Program, Stdio};

use crate::Failure;
use crate::place::{Place, must_run};
use crate::step::Stepped;
use crate::tree;

/// The first argument of the traced run.
pub(crate) const ARGUMENT: &str = "traced";

/// Enough unchanged files to show, few enough to make under strace.
const ENTRIES: usize = 1_500;

/// Paths that do not exist: looking at one is a mark in the trace.
const MARKS: [&str; 3] = ["/mark-delivery", "/mark-ingestion", "/mark-control"];

/// Runs the traced child and reads its trace.
pub(crate) fn count() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let trace = dir.path().join("trace");
    let status = Program::new("timeout")
        .args(["--kill-after=5", "300", "strace", "-f", "-y", "-qq", "-s", "4096", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe()?)
        .arg(ARGUMENT)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("strace does not start ({error}): apt-get install strace"))?;
    if !status.success() {
        return Err(format!("the traced run ended with {status}").into());
    }
    let text = String::from_utf8_lossy(&fs::read(&trace)?).into_owned();
    let [delivery, ingestion, control] = sections(&text)?;
    println!(
        "  system calls on unchanged files, step end -> shadow: {} (of {} in all)  [0: {}]",
        delivery.unchanged,
        delivery.all,
        if delivery.unchanged == 0 { "reached" } else { "MISSED" }
    );
    println!(
        "  ingestion beside the tests: {} on unchanged files, {} on objects (of {} in all)",
        ingestion.unchanged, ingestion.objects, ingestion.all
    );
    println!("  control, one unchanged file read in the shadow: opened {} times", control.opened);
    if control.opened == 0 {
        return Err("the trace does not show a file that was read: it proves nothing".into());
    }
    Ok(())
}

/// System calls between two marks.
#[derive(Debug, Default, Clone, Copy)]
struct Section {
    all: usize,
    /// That name an unchanged file, by path or by descriptor.
    unchanged: usize,
    /// Those of them that open it.
    opened: usize,
    /// That name an object of the store.
    objects: usize,
}

fn sections(trace: &str) -> Result<[Section; 3], Failure> {
    let mut sections = [Section::default(); 3];
    let mut current = None;
    for line in trace.lines() {
        if let Some(mark) = MARKS.iter().position(|mark| line.contains(mark)) {
            current = Some(mark);
            continue;
        }
        let Some(current) = current else { continue };
        let section: &mut Section = &mut sections[current];
        section.all += 1;
        section.unchanged += usize::from(line.contains(tree::UNCHANGED));
        let opens = line.contains(tree::UNCHANGED) && line.contains(" open");
        section.opened += usize::from(opens);
        section.objects += usize::from(line.contains("/objects/") || line.contains("/objects>"));
    }
    if current != Some(MARKS.len() - 1) {
        return Err("the trace lacks a mark".into());
    }
    Ok(sections)
}

/// The traced run itself.
pub(crate) fn child() -> Result<(), Failure> {
    let place = Place::new()?;
    let root = place.path("root");
    tree::make(&root, ENTRIES)?;
    let known = place.ingest(&root)?;
    let shadow = place.shadow("follower", &known.layers)?;
    let stepped = Stepped::run(&place, &known, 0, tree::STEP)?;
    mark(0);
    let layers = stepped.settle(&known)?;
    shadow.apply(&layers)?;
    must_run(&*shadow, &["test", "-f", tree::STEP_PROOF])?;
    mark(1);
    let upper = layers.uppers.first().ok_or("the step left no upper directory")?;
    let tree_after = place.store.capture_upper(&known.tree, upper)?;
    place.known(tree_after)?;
    mark(2);
    let file = format!("/usr/share/package-0/{}0", tree::UNCHANGED);
    must_run(&*shadow, &["cat", &file])?;
    shadow.destroy()?;
    Ok(())
}

fn mark(number: usize) {
    // It is not there; being asked for is all that matters.
    let _ = fs::symlink_metadata(MARKS[number]);
}
