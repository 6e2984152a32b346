//! Random sequences of operations in a real overlay: what the upper directory says is what is
//! shown, layer after layer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags,
    lremovexattr, lsetxattr, makedev, mknodat, renameat_with, utimensat,
};
use support::overlay::Overlay;

/// One operation: what, on which of the existing paths, where to, and with what.
type Step = (u8, u16, u16, u8);

fn fill(lower: &Path) {
    for dir in ["a/b/c", "d/e", "f"] {
        fs::create_dir_all(lower.join(dir)).unwrap();
    }
    for (number, file) in
        ["a/one", "a/b/two", "a/b/c/three", "d/four", "d/e/five", "six"].into_iter().enumerate()
    {
        fs::write(lower.join(file), vec![b'0' + number as u8; 1 + number * 900]).unwrap();
    }
    fs::hard_link(lower.join("a/b/two"), lower.join("d/two-too")).unwrap();
    fs::hard_link(lower.join("a/b/two"), lower.join("f/two-three")).unwrap();
    fs::hard_link(lower.join("six"), lower.join("a/b/six")).unwrap();
    symlink("../six", lower.join("f/link")).unwrap();
}

/// Does one operation. Many are impossible as things stand; that is part of the game.
fn act(root: &Path, (what, at, to, with): Step) -> std::io::Result<()> {
    let mut dirs = vec![root.to_owned()];
    let mut all = Vec::new();
    list(root, &mut dirs, &mut all);
    let pick = |from: &[PathBuf], number: u16| from[usize::from(number) % from.len()].clone();
    let path = if all.is_empty() { root.to_owned() } else { pick(&all, at) };
    let target = pick(&dirs, to).join(format!("n{}", with % 6));
    let other = if all.is_empty() { root.to_owned() } else { pick(&all, to) };
    match what % 20 {
        0 => write(&target, with),
        1 => write(&path, with),
        2 => fs::create_dir(target),
        3 => fs::create_dir_all(target.join("x/y")),
        4 => fs::remove_file(path),
        5 => fs::remove_dir_all(path),
        6 | 7 => fs::rename(path, target),
        8 => fs::rename(path, other),
        9 => fs::hard_link(path, target),
        10 => symlink("somewhere", target),
        11 => fs::set_permissions(path, fs::Permissions::from_mode(u32::from(with) | 0o400)),
        12 => lchown(path, Some(u32::from(with)), Some(7)),
        13 => Ok(lsetxattr(path, "trusted.note", &[with], XattrFlags::empty())?),
        14 => Ok(lremovexattr(path, "trusted.note")?),
        15 => {
            let kind = if with % 2 == 0 { FileType::Fifo } else { FileType::CharacterDevice };
            let device = if with % 2 == 0 { 0 } else { makedev(1, 3) };
            Ok(mknodat(CWD, target, kind, Mode::from_raw_mode(0o600), device)?)
        }
        16 => {
            let time = Timespec { tv_sec: i64::from(with) * 1000, tv_nsec: 5 };
            let times = Timestamps { last_access: time, last_modification: time };
            Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        17 => Ok(renameat_with(CWD, path, CWD, other, RenameFlags::EXCHANGE)?),
        18 => {
            // As dpkg replaces a directory by a file, and a file by a directory.
            if path.is_dir() && !path.is_symlink() && path != root {
                fs::remove_dir_all(&path)?;
                fs::write(&path, "was a directory")
            } else {
                fs::remove_file(&path)?;
                fs::create_dir(&path)
            }
        }
        _ => open(&path)?.set_len(3),
    }
}

/// Opens for writing. A pipe that nobody reads refuses instead of waiting.
fn open(path: &Path) -> std::io::Result<fs::File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    fs::OpenOptions::new().write(true).create(true).custom_flags(flags).open(path)
}

fn write(path: &Path, with: u8) -> std::io::Result<()> {
    let mut file = open(path)?;
    file.set_len(0)?;
    file.write_all(&vec![with; usize::from(with) * 20])
}

fn list(dir: &Path, dirs: &mut Vec<PathBuf>, all: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            dirs.push(entry.path());
            list(&entry.path(), dirs, all);
        }
    }
}

fn run(layers: &[Vec<Step>]) -> Result<(), TestCaseError> {
    let mut overlay = Overlay::over(fill);
    for (number, steps) in layers.iter().enumerate() {
        for step in steps {
            // Refusals (not empty, is a directory, onto itself) are fine.
            let _ = act(&overlay.merged(), *step);
        }
        if number % 2 == 1 {
            overlay.remount();
        }
        overlay.next_layer();
    }
    overlay.check();
    Ok(())
}

/// A few in every run; as many as `PROPTEST_CASES` says when somebody has the time.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_upper_directory_says_what_is_shown(
        layers in prop::collection::vec(
            prop::collection::vec((any::<u8>(), any::<u16>(), any::<u16>(), any::<u8>()), 0..25),
            1..4,
        )
    ) {
        if support::is_root() {
            run(&layers)?;
        } else {
            support::skipped("needs root");
        }
    }
}

#[test]
fn a_link_that_a_live_overlay_shows_as_two_files() {
    need_root!();
    let layers = [
        vec![(62, 0, 11619, 0)],
        vec![(118, 29631, 0, 0)],
        vec![
            (0, 0, 488, 0),
            (11, 0, 0, 0),
            (237, 38056, 9377, 0),
            (129, 10906, 124, 0),
            (19, 0, 0, 0),
        ],
    ];
    run(&layers).unwrap();
}
