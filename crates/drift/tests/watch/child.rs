//! What this program does when it is started again by one of its tests.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_drift::watch::{Memory, Options, Receipt, Report, Seen, Watcher};

/// Before what is to be done.
pub(crate) const ARGUMENT: &str = "--as-child";

/// In a journal: the memory knows of all above.
const SAVED: &str = "saved\n";

/// Do what the arguments say, if this is a child.
pub(crate) fn run() -> Option<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    let what = arguments.next()?;
    let root = PathBuf::from(arguments.next()?);
    match what.to_str()? {
        "writers" => writers(&root),
        "journal" => journal(&root, arguments.next()?.as_ref(), arguments.next()?.as_ref()),
        other => panic!("{other}"),
    }
    Some(())
}

fn options(root: &Path) -> Options {
    Options { verify_every: None, ..Options::new(vec![root.to_owned()]) }
}

/// Says who changed what, a line each, until it is killed.
fn writers(root: &Path) {
    let mut watcher = Watcher::start(options(root), Memory::default()).expect("watcher");
    loop {
        match watcher.next(Duration::from_secs(1)).expect("report") {
            Some(Report::Receipt(_)) => println!("ready"),
            Some(Report::Change(change)) if change.path != root => {
                let Seen::Events(chain) = &change.seen else { panic!("{change:?}") };
                let name = change.path.file_name().unwrap_or_default().to_string_lossy();
                println!("{name} {} {:?}", chain.writers[0].pid, chain.writers[0].known);
            }
            _ => {}
        }
    }
}

/// Writes every change and receipt to a journal, and saves its memory after that, until it
/// is killed.
fn journal(root: &Path, memory: &Path, journal: &Path) {
    let options = Options { unlimited_queue: false, ..options(root) };
    let mut known = Memory::load(memory).memory;
    let before = std::fs::read_to_string(journal).unwrap_or_default();
    let last = before.lines().rev().find_map(receipt);
    if let Some(last) = last {
        known.follow(last.chain_hash);
    }
    let after = before.rfind(SAVED).map_or(0, |at| at + SAVED.len());
    for (path, _) in before[after..].lines().filter_map(|line| line.rsplit_once(' ')) {
        if Path::new(path).starts_with(root) {
            known.doubt(path.as_ref());
        }
    }
    let mut watcher = Watcher::start(options, known).expect("watcher");
    let file = std::fs::OpenOptions::new().append(true).create(true).open(journal);
    let mut journal = std::io::BufWriter::new(file.expect("journal"));
    if !before.is_empty() && !before.ends_with('\n') {
        // Killed in the middle of a line.
        writeln!(journal).expect("line");
    }
    drop(before);
    let mut unsaved = 0;
    loop {
        let report = watcher.next(Duration::from_millis(20)).expect("report");
        let idle = report.is_none();
        unsaved += usize::from(!idle);
        match report {
            Some(Report::Change(change)) => {
                let size = change.stamp.map_or(-1, |stamp| stamp.size.cast_signed());
                writeln!(journal, "{} {size}", change.path.display()).expect("line");
            }
            Some(Report::Receipt(receipt)) => {
                let json = serde_json::to_string(&receipt).expect("receipt");
                writeln!(journal, "receipt {json}").expect("line");
            }
            Some(Report::Coverage(_)) | None => {}
        }
        if unsaved >= 20_000 || (idle && unsaved > 0) {
            // A memory that knew of more than was said would lose it.
            journal.flush().expect("journal");
            if watcher.save(memory).expect("saved") {
                write!(journal, "{SAVED}").expect("line");
                journal.flush().expect("journal");
                unsaved = 0;
            }
        }
    }
}

/// The receipt in a line of a journal, if it is a whole one.
pub(crate) fn receipt(line: &str) -> Option<Receipt> {
    serde_json::from_str(line.strip_prefix("receipt ")?).ok()
}
